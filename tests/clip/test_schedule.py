"""Learning rates and which weights decay."""

from __future__ import annotations

from itertools import pairwise

import pytest

from biomedica_kedro.clip.checkpoints import config_of, create
from biomedica_kedro.clip.config import ModelOptions, OptimizerOptions
from biomedica_kedro.clip.schedule import learning_rate, parameter_groups
from tests.clip.small_corpus import small_vit


def test_rate_rises_linearly_then_falls_as_a_cosine():
    options = OptimizerOptions(learning_rate=1.0, warmup_steps=10, final_share=0.1)
    rates = [learning_rate(step, 110, options) for step in range(111)]
    assert rates[0] == pytest.approx(0.1)
    assert rates[9] == rates[10] == 1.0
    assert rates[60] == pytest.approx(0.55)
    assert rates[110] == pytest.approx(0.1)
    assert all(later <= earlier for earlier, later in pairwise(rates[10:]))


def test_norms_biases_embeddings_and_scales_do_not_decay(tmp_path):
    model = create(config_of(small_vit(tmp_path), ModelOptions()))
    names = {id(weight): name for name, weight in model.named_parameters()}
    groups = parameter_groups(model, OptimizerOptions(weight_decay=0.2))
    decayed = {names[id(w)] for group in groups for w in group["params"] if group["weight_decay"]}
    kept = {names[id(w)] for group in groups for w in group["params"] if not group["weight_decay"]}
    assert len(decayed) + len(kept) == len(names)
    assert {"visual.conv1.weight", "text_projection"} <= decayed
    assert {"logit_scale", "token_embedding.weight", "positional_embedding", "ln_final.weight"} <= kept
    assert not any("bias" in name or "ln_" in name for name in decayed)


def test_layer_decay_falls_with_the_distance_from_the_output(tmp_path):
    model = create(config_of(small_vit(tmp_path), ModelOptions()))
    names = {id(weight): name for name, weight in model.named_parameters()}
    groups = parameter_groups(model, OptimizerOptions(layer_decay=0.5))
    share = {names[id(w)]: group["share"] for group in groups for w in group["params"]}
    assert share["visual.proj"] == 1.0
    assert share["visual.transformer.resblocks.1.ln_1.weight"] == 0.5
    assert share["visual.transformer.resblocks.0.ln_1.weight"] == 0.25
    assert share["visual.conv1.weight"] == 0.125
    assert share["token_embedding.weight"] == 0.25


def test_everything_frozen_is_an_error(tmp_path):
    model = create(config_of(small_vit(tmp_path), ModelOptions())).requires_grad_(False)
    with pytest.raises(ValueError, match="freeze_image_tower"):
        parameter_groups(model, OptimizerOptions())
