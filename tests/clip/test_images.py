"""The fast path gives the pixels of open_clip's transform."""

from __future__ import annotations

import io

import numpy as np
import pytest
import torch
from open_clip.transform import PreprocessCfg, image_transform_v2
from PIL import Image

from biomedica_kedro.clip.config import AugmentationOptions
from biomedica_kedro.clip.images import Geometry, decode, jitter, normalize, random_square, to_square
from biomedica_kedro.records import DataError

SQUARE = Geometry.of(vars(PreprocessCfg(size=150)))
SIZES = [(400, 300), (300, 401), (97, 512), (224, 224), (60, 50)]


def photo(size: tuple[int, int], seed: int = 0) -> Image.Image:
    small = np.random.default_rng(seed).integers(0, 255, (12, 16, 3)).astype(np.uint8)
    return Image.fromarray(small).resize(size, Image.Resampling.BICUBIC)


def encoded(image: Image.Image, kind: str = "JPEG", **options: object) -> bytes:
    file = io.BytesIO()
    image.save(file, kind, **options)
    return file.getvalue()


def psnr(first: torch.Tensor, second: torch.Tensor, config: PreprocessCfg) -> float:
    scale = torch.tensor(config.std).view(3, 1, 1)
    error = ((first - second) * scale).square().mean().item()
    return 10 * np.log10(1 / max(error, 1e-12))


@pytest.mark.parametrize("interpolation", ["bicubic", "bilinear"])
@pytest.mark.parametrize("mode", ["shortest", "longest", "squash"])
def test_pixels_are_those_of_open_clip(mode, interpolation):
    config = PreprocessCfg(size=64, resize_mode=mode, fill_color=255, interpolation=interpolation)
    reference = image_transform_v2(config, is_train=False)
    geometry = Geometry.of(vars(config))
    ratios = []
    for seed, size in enumerate(SIZES):
        content = encoded(photo(size, seed), quality=90)
        ours = normalize(to_square(decode(content), geometry)[None], geometry)[0]
        ratios.append(psnr(ours, reference(Image.open(io.BytesIO(content))), config))
    assert np.percentile(ratios, 5) >= 55


@pytest.mark.parametrize("size", [(150, 150), (48, 48), (400, 400)])
def test_square_image_is_the_same_whether_its_aspect_is_kept_or_not(size):
    image = decode(encoded(photo(size), "PNG"))
    cropped, padded, distorted = (
        to_square(image, Geometry.of(vars(PreprocessCfg(size=64, resize_mode=mode))))
        for mode in ("shortest", "longest", "squash")
    )
    assert torch.equal(cropped, padded) and torch.equal(cropped, distorted)


def test_real_figures_have_the_pixels_of_open_clip(shared_data):
    config = PreprocessCfg(size=224)
    reference, geometry = image_transform_v2(config, is_train=False), Geometry.of(vars(config))
    paths = sorted((shared_data / "jats").rglob("*.jpg"))[:40]
    if not paths:
        pytest.skip("no real figures at hand")
    ratios = []
    for path in paths:
        ours = normalize(to_square(decode(path.read_bytes()), geometry)[None], geometry)[0]
        ratios.append(psnr(ours, reference(Image.open(path)), config))
    assert np.percentile(ratios, 5) >= 55


@pytest.mark.parametrize(
    ("mode", "kind"), [("L", "JPEG"), ("CMYK", "JPEG"), ("RGBA", "PNG"), ("P", "GIF"), ("1", "TIFF"), ("LA", "PNG")]
)
def test_every_kind_of_image_becomes_rgb(mode, kind):
    assert decode(encoded(photo((50, 40)).convert(mode), kind)).shape == (3, 40, 50)


@pytest.mark.parametrize(
    "content", [b"", b"not an image", encoded(photo((80, 80)))[:600]], ids=["empty", "text", "cut"]
)
def test_corrupt_image_is_named_as_such(content):
    with pytest.raises(DataError, match=r"corrupt_image|not_an_image"):
        decode(content)


def test_augmentation_depends_on_its_random_numbers_alone():
    options = AugmentationOptions(crop_scale=0.5, shift=4, brightness=0.2)
    geometry = Geometry(size=32, resize_mode="shortest", fill_color=0, mean=(0.5,) * 3, std=(0.5,) * 3)
    image = decode(encoded(photo((90, 70))))

    def augmented(seed: int) -> torch.Tensor:
        random = np.random.default_rng(seed)
        return jitter(random_square(image, geometry, options, random), options, random)

    assert torch.equal(augmented(1), augmented(1))
    assert not torch.equal(augmented(1), augmented(2))
    assert augmented(1).shape == (3, 32, 32)


@pytest.mark.parametrize(("size", "height"), [((1000, 700), 175), ((300, 250), 250), ((650, 520), 260)])
def test_scaled_decoding_halves_while_enough_is_left(size, height):
    content = encoded(photo(size), quality=90)
    assert decode(content, at_least=150).shape[1] == height
    exact, scaled = (to_square(decode(content, at_least=n), SQUARE) for n in (None, 150))
    error = (exact.float() - scaled.float()).square().mean().item()
    assert 10 * np.log10(255**2 / max(error, 1e-9)) > 30


def test_scaled_decoding_leaves_other_formats_and_the_default_as_they_are():
    picture = photo((900, 900))
    assert decode(encoded(picture, "PNG"), at_least=100).shape == (3, 900, 900)
    assert decode(encoded(picture)).shape == (3, 900, 900)


def test_jitter_moves_whole_pixels_and_rounds_brightness_as_torch_does():
    options = AugmentationOptions(shift=3, brightness=0.3)
    image = torch.from_numpy(np.random.default_rng(0).integers(0, 256, (3, 9, 9), dtype=np.uint8))
    random = np.random.default_rng(5)
    down, right = random.integers(-3, 4, 2)
    factor = 1 + 0.3 * (2 * random.random() - 1)
    rows, columns = ((torch.arange(9) + int(by)).clamp(0, 8) for by in (down, right))
    wanted = (image[:, rows][:, :, columns].float() * factor).round().clamp(0, 255).to(torch.uint8)
    assert torch.equal(jitter(image, options, np.random.default_rng(5)), wanted)
    assert (down, right) != (0, 0)
