"""The loss is open_clip's, and a batch in pieces or over processes has the gradient of the whole."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from open_clip.loss import ClipLoss, CoCaLoss, SigLipLoss

from biomedica_kedro.clip.checkpoints import config_of, create
from biomedica_kedro.clip.config import ModelOptions, Objective
from biomedica_kedro.clip.objective import TwoTowers, contrastive_backward, make_loss
from tests.clip.small_corpus import small_vit
from tests.clip.small_models import COCA, written
from tests.clip.two_processes import run_two_processes

WORKER = Path(__file__).with_name("data_parallel_worker.py")


def towers(folder: Path, **changes: object) -> TwoTowers:
    torch.manual_seed(0)
    return TwoTowers(create(config_of(small_vit(folder, **changes), ModelOptions())).train())


def coca(folder: Path) -> TwoTowers:
    torch.manual_seed(0)
    return TwoTowers(create(config_of(written(folder, "coca", COCA), ModelOptions())).train())


def unequal_captions() -> tuple[torch.Tensor, torch.Tensor]:
    images, tokens = pairs()
    lengths = torch.arange(3, 15)[:, None]
    return images, torch.where(torch.arange(16) < lengths, tokens, 0)


def pairs(n_pairs: int = 12) -> tuple[torch.Tensor, torch.Tensor]:
    generator = torch.Generator().manual_seed(1)
    return (
        torch.randn(n_pairs, 3, 32, 32, generator=generator),
        torch.randint(1, 49000, (n_pairs, 16), generator=generator),
    )


def gradients(model: TwoTowers) -> torch.Tensor:
    return torch.cat([weight.grad.flatten() for weight in model.parameters() if weight.grad is not None])


@pytest.mark.parametrize("objective", list(Objective), ids=str)
def test_gradient_of_pieces_is_that_of_the_whole_batch(tmp_path, objective):
    changes = {"init_logit_bias": -10} if objective is Objective.SIGLIP else {}
    images, tokens = pairs()
    whole, pieces = towers(tmp_path, **changes), towers(tmp_path, **changes)
    loss = contrastive_backward(whole, images, tokens, loss=make_loss(objective))
    loss_of_pieces = contrastive_backward(pieces, images, tokens, loss=make_loss(objective), pieces=4)

    assert loss_of_pieces.item() == pytest.approx(loss.item(), rel=1e-6)
    difference = (gradients(pieces) - gradients(whole)).norm() / gradients(whole).norm()
    assert difference < 1e-5


def test_loss_is_that_of_open_clip(tmp_path):
    images, tokens = pairs()
    model = towers(tmp_path)
    image_NE, text_NE, scale, _, _ = model(images, tokens)
    expected = ClipLoss()(image_NE, text_NE, scale)
    assert contrastive_backward(model, images, tokens, loss=make_loss(Objective.INFO_NCE)) == expected


def test_sigmoid_loss_is_that_of_open_clip(tmp_path):
    images, tokens = pairs()
    model = towers(tmp_path, init_logit_bias=-10)
    image_NE, text_NE, scale, bias, _ = model(images, tokens)
    expected = SigLipLoss()(image_NE, text_NE, scale, bias)
    assert contrastive_backward(model, images, tokens, loss=make_loss(Objective.SIGLIP)) == expected


def test_loss_of_coca_is_that_of_open_clip(tmp_path):
    images, tokens = unequal_captions()
    model = coca(tmp_path)
    found = model.model(images, tokens)
    assert found.pop("logit_bias", None) is None
    expected = sum(CoCaLoss(caption_loss_weight=2.0, clip_loss_weight=1.0)(**found))
    assert contrastive_backward(model, images, tokens, loss=make_loss(Objective.INFO_NCE)) == pytest.approx(
        expected.item(), rel=1e-6
    )


def test_pieces_of_unequal_captions_have_the_gradient_of_the_whole_batch(tmp_path):
    whole, pieces = coca(tmp_path), coca(tmp_path)
    loss = contrastive_backward(whole, *unequal_captions(), loss=make_loss(Objective.INFO_NCE))
    loss_of_pieces = contrastive_backward(pieces, *unequal_captions(), loss=make_loss(Objective.INFO_NCE), pieces=4)

    assert loss_of_pieces.item() == pytest.approx(loss.item(), rel=1e-6)
    assert (gradients(pieces) - gradients(whole)).norm() / gradients(whole).norm() < 1e-5


def test_two_processes_have_the_gradient_of_one(tmp_path):
    codes = run_two_processes(WORKER, tmp_path)
    found = torch.load(tmp_path / "gradients.pt")

    assert codes == [0, 0]
    for objective in Objective:
        changes = {"init_logit_bias": -10} if objective is Objective.SIGLIP else {}
        whole = towers(tmp_path, **changes)
        contrastive_backward(whole, *pairs(), loss=make_loss(objective))
        for pieces in (1, 3):
            difference = (found[objective.value, pieces] - gradients(whole)).norm() / gradients(whole).norm()
            assert difference < 1e-5, (objective, pieces)
    whole = coca(tmp_path)
    loss = contrastive_backward(whole, *unequal_captions(), loss=make_loss(Objective.INFO_NCE))
    assert (found["coca"] - gradients(whole)).norm() / gradients(whole).norm() < 1e-5
    assert found["coca loss"] == pytest.approx(loss.item(), rel=1e-6)
