"""Texts without their padding give the same loss; buckets hold the same samples, those of like length together."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from biomedica_kedro.clip.checkpoints import BaseModel, config_of, create
from biomedica_kedro.clip.config import ModelOptions, Objective, TextLengthOptions
from biomedica_kedro.clip.lengths import LengthBuckets, encode_text, ignores_padding, without_padding
from biomedica_kedro.clip.objective import TwoTowers, contrastive_backward, make_loss
from biomedica_kedro.clip.order import SampleOrder
from biomedica_kedro.clip.text import Tokenizer
from tests.clip.small_corpus import VIT, small_vit
from tests.clip.small_models import COCA, written
from tests.clip.test_objective import gradients
from tests.clip.test_train import OPTIONS, trainer

TEXTS = ["a red field", "a blue field, seen by day", "green", "white and red, side by side, by night"]


@pytest.mark.parametrize("changes", [{}, {"custom_text": True}], ids=["CLIP", "custom text"])
@pytest.mark.parametrize("pieces", [1, 2])
def test_padding_left_out_does_not_change_loss_or_gradient(tmp_path, changes, pieces):
    torch.manual_seed(0)
    base = written(tmp_path, "model", {**VIT, **changes, "text_cfg": {**VIT["text_cfg"], "context_length": 40}})
    tokens, images = Tokenizer(40)(TEXTS), torch.randn(4, 3, 32, 32)
    short = without_padding(tokens, multiple=4)
    assert short.shape == (4, 12)
    model = TwoTowers(create(config_of(base, ModelOptions())).train())
    found = []
    for given in (tokens, short):
        model.zero_grad()
        loss = contrastive_backward(model, images, given, loss=make_loss(Objective.INFO_NCE), pieces=pieces)
        found.append((loss.item(), gradients(model)))
    (whole, gradient), (shortened, gradient_of_short) = found
    assert shortened == pytest.approx(whole, rel=1e-6)
    assert (gradient_of_short - gradient).norm() / gradient.norm() < 1e-5


def test_variable_length_trains_to_the_losses_of_the_fixed_one(small_corpus, tmp_path):
    longer = OPTIONS.model_copy(update={"model": ModelOptions(context_length=48), "steps": 4})
    variable = longer.model_copy(update={"text_length": TextLengthOptions(variable=True)})
    fixed = trainer(small_corpus, tmp_path / "a", longer).run().history
    short = trainer(small_corpus, tmp_path / "b", variable).run().history
    assert [row["loss"] for row in short] == pytest.approx([row["loss"] for row in fixed], rel=1e-5)


def test_short_text_is_what_the_model_is_given(small_corpus, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        "biomedica_kedro.clip.objective.encode_text",
        lambda model, tokens: seen.append(tokens.shape[1]) or encode_text(model, tokens),
    )
    changes = {"model": ModelOptions(context_length=48), "text_length": TextLengthOptions(variable=True), "steps": 2}
    trainer(small_corpus, tmp_path, OPTIONS.model_copy(update=changes)).run()
    assert set(seen) <= {8, 16} and seen


def test_towers_that_see_the_padding_keep_their_length(tmp_path):
    for architecture, expected in (
        ("ViT-B-32", True), ("RN50", True), ("EVA02-B-16", True), ("ViT-B-16-SigLIP", False), ("ViT-L-14-CLIPA", False),
        ("coca_ViT-B-32", False), ("roberta-ViT-B-32", False), ("MobileCLIP2-S0", False),
    ):  # fmt: skip
        assert ignores_padding(config_of(BaseModel(architecture), ModelOptions())) is expected, architecture
    assert not ignores_padding(config_of(written(tmp_path, "coca", COCA), ModelOptions()))
    assert ignores_padding(config_of(small_vit(tmp_path), ModelOptions()))


def test_length_left_is_a_multiple_or_the_whole_context():
    tokens = Tokenizer(30)(TEXTS)
    assert without_padding(tokens, 8).shape[1] == 16
    assert without_padding(tokens, 64).shape[1] == 30
    assert without_padding(torch.zeros(2, 30, dtype=torch.long), 8).shape[1] == 8


@pytest.fixture
def order():
    return SampleOrder(np.ones(50, np.float32), 6, seed=3)


LENGTHS = np.random.default_rng(0).integers(1, 300, 50)


def test_a_window_keeps_its_samples(order):
    buckets = LengthBuckets(order, LENGTHS, window=3, seed=3)
    for first, last in ((0, 3), (3, 6), (6, 8), (8, 11)):  # 8 steps an epoch: its last window is shorter
        found, expected = (
            sorted((d.epoch, d.index) for step in range(first, last) for d in any_order.batch(step))
            for any_order in (buckets, order)
        )
        assert found == expected


def test_texts_of_like_length_meet(order):
    buckets = LengthBuckets(order, LENGTHS, window=4, seed=3)
    spreads = [
        np.mean([np.ptp(LENGTHS[[d.index for d in any_order.batch(step)]]) for step in range(8)])
        for any_order in (order, buckets)
    ]
    assert spreads[1] < spreads[0] / 2


def test_buckets_are_a_function_of_seed_and_step(order):
    whole = list(LengthBuckets(order, LENGTHS, window=3, seed=3).batches(0, 16))
    later = list(LengthBuckets(order, LENGTHS, window=3, seed=3).batches(5, 16))
    other = list(LengthBuckets(order, LENGTHS, window=3, seed=4).batches(0, 16))
    shares = [LengthBuckets(order, LENGTHS, window=3, seed=3).batch(5, rank=rank, world_size=2) for rank in (0, 1)]
    assert later == whole[5:]
    assert other != whole
    assert shares[0] + shares[1] == whole[5]


def test_buckets_are_trained_on(small_corpus, tmp_path):
    options = OPTIONS.model_copy(update={"text_length": TextLengthOptions(window=3), "steps": 3})
    plain, bucketed = trainer(small_corpus, tmp_path / "a", options), trainer(small_corpus, tmp_path / "b", options)
    bucketed.text_lengths = np.random.default_rng(0).permutation(len(bucketed.training))
    losses = [[row["loss"] for row in job.run().history] for job in (plain, bucketed)]
    assert losses[0] != losses[1] and np.isfinite(losses[1]).all()
