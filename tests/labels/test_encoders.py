import json
from pathlib import Path

import numpy as np
import pytest
from kedro.io import DatasetError
from PIL import Image

from biomedica_kedro.datasets.vision_encoder import VisionEncoderDataset
from biomedica_kedro.labels import encoders
from biomedica_kedro.labels.descriptors import describe
from biomedica_kedro.labels.encoders import EncoderError, Preprocessing, prepare

SHAPES = [(1, 1), (3000, 30), (30, 3000), (640, 480), (128, 128), (5, 400)]


def noise(width: int, height: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(0).integers(0, 255, (height, width, 3)).astype(np.uint8))


@pytest.mark.parametrize("size", SHAPES, ids=str)
def test_every_shape_has_a_finite_descriptor(size):
    vector = describe(noise(*size))

    assert vector.shape == describe(noise(64, 64)).shape and np.isfinite(vector).all()


@pytest.mark.parametrize("color", ["white", "black", "red"])
def test_flat_images_have_a_finite_descriptor(color):
    assert np.isfinite(describe(Image.new("RGB", (80, 60), color))).all()


def test_equal_pixels_have_equal_vectors_and_size_matters_little():
    large = Image.effect_mandelbrot((512, 384), (-2, -1, 1, 1), 50).convert("RGB")
    small = large.resize((256, 192), Image.Resampling.BOX)
    other = noise(256, 192)

    assert np.array_equal(describe(large), describe(large.copy()))
    assert np.linalg.norm(describe(large) - describe(small)) < 0.3 * np.linalg.norm(describe(large) - describe(other))


def test_encoder_of_the_catalog_gives_half_floats():
    encoder = VisionEncoderDataset(kind="descriptors").load().build()

    vectors = encoder.encode([noise(50, 40), noise(60, 60)])

    assert vectors.dtype == np.float16 and len(vectors) == 2


def test_aspect_is_kept_unless_the_reference_is_asked_for():
    wide = Image.new("RGB", (200, 100), "black")

    padded = np.asarray(prepare(wide, 64, Preprocessing.PADDED))
    squashed = np.asarray(prepare(wide, 64, Preprocessing.REFERENCE))

    assert padded[0].min() == 255 and padded[32].max() == 0
    assert squashed.max() == 0


def test_digest_follows_the_version_that_a_person_raises(monkeypatch: pytest.MonkeyPatch):
    handle = VisionEncoderDataset(kind="descriptors").load()
    first = handle.digest()
    monkeypatch.setattr(encoders, "_VERSION", encoders._VERSION + 1)
    assert handle.digest() != first


def test_digest_follows_the_content_of_the_weights_and_not_their_place(tmp_path: Path):
    for name in ("a", "b"):
        (tmp_path / name).write_bytes(b"same")
    digests = {VisionEncoderDataset(kind="timm", model="vit", weights=str(tmp_path / n)).load().digest() for n in "ab"}
    assert len(digests) == 1


def test_digest_follows_the_weights_and_not_the_device(tmp_path: Path):
    weights = tmp_path / "w.safetensors"
    weights.write_bytes(b"one")
    choice = {"kind": "timm", "model": "vit", "weights": str(weights)}
    first = VisionEncoderDataset(**choice).load().digest()

    assert VisionEncoderDataset(**choice, device="cpu").load().digest() == first
    weights.write_bytes(b"two!")
    assert VisionEncoderDataset(**choice).load().digest() != first


def test_absent_weights_are_an_error_that_says_what_to_do(tmp_path: Path):
    handle = VisionEncoderDataset(kind="timm", model="vit", weights=str(tmp_path / "none")).load()

    with pytest.raises(EncoderError, match="put it there"):
        handle.digest()


def test_learned_encoder_needs_a_model():
    with pytest.raises(EncoderError, match="needs a `model`"):
        VisionEncoderDataset(kind="timm").load().build()


def test_unknown_option_of_the_catalog_entry_names_the_close_match():
    with pytest.raises(DatasetError, match="did you mean 'weights'"):
        VisionEncoderDataset(kind="timm", weight="x")


def test_timm_model_with_local_weights_encodes(tmp_path: Path):
    import timm
    from safetensors.torch import save_file

    save_file(timm.create_model("test_vit", pretrained=False).state_dict(), tmp_path / "w.safetensors")
    choice = {"kind": "timm", "model": "test_vit", "weights": str(tmp_path / "w.safetensors"), "image_size": 160}

    vectors = VisionEncoderDataset(**choice).load().build().encode([noise(300, 100), noise(20, 20)])

    assert vectors.dtype == np.float16 and vectors.shape[0] == 2 and np.isfinite(vectors).all()


def test_open_clip_model_with_local_weights_encodes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    import open_clip
    from safetensors.torch import save_file

    vision = {"image_size": 32, "layers": 1, "width": 64, "head_width": 32, "patch_size": 16}
    text = {"context_length": 8, "vocab_size": 16, "width": 32, "heads": 1, "layers": 1}
    config = {"embed_dim": 24, "vision_cfg": vision, "text_cfg": text}
    (tmp_path / "tiny-of-the-test.json").write_text(json.dumps(config))
    # open_clip keeps what is added for the whole process: other tests would see it among its own architectures
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIG_PATHS", list(open_clip.factory._MODEL_CONFIG_PATHS))
    monkeypatch.setattr(open_clip.factory, "_MODEL_CONFIGS", dict(open_clip.factory._MODEL_CONFIGS))
    open_clip.add_model_config(tmp_path / "tiny-of-the-test.json")
    save_file(open_clip.create_model("tiny-of-the-test").state_dict(), tmp_path / "w.safetensors")
    choice = {"kind": "open_clip", "model": "tiny-of-the-test", "weights": str(tmp_path / "w.safetensors")}
    images = [noise(300, 100), noise(20, 20)]

    encoder = VisionEncoderDataset(**choice, image_size=32).load().build()
    vectors = encoder.encode(images)

    assert vectors.dtype == np.float16 and vectors.shape == (2, 24) and np.isfinite(vectors).all()
    # the size of a batch decides the order of the sums
    assert np.allclose(vectors[1], encoder.encode(images[1:])[0], rtol=2e-3, atol=2e-3)
