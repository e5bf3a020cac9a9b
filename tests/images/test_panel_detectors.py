import sys
from types import SimpleNamespace

import pytest
from PIL import Image

from biomedica_kedro.images import panel_detectors
from biomedica_kedro.images.panel_detectors import DetectorError, DetectorHandle, read_image
from biomedica_kedro.images.panels import Box, PanelOptions

LEFT, RIGHT = Box(0, 0, 100, 100), Box(4, 100, 100, 200)
TOUCHING = Image.new("RGB", (200, 100), "gray")


class Detector:
    """Finds what it is told."""

    def __init__(self, *found: tuple[Box, float]) -> None:
        self.found = found

    def detect(self, image):
        return self.found


def read(*found: tuple[Box, float], caption: str = "(A) Red. (B) Green."):
    return read_image(TOUCHING, caption, PanelOptions(), Detector(*found))


def test_panels_that_touch_are_those_of_the_detector_in_reading_order():
    reading = read((RIGHT, 0.9), (LEFT, 0.8), (Box(0, 0, 9, 9), 0.2))

    assert (reading.is_multiple, reading.score, reading.boxes) == (True, 0.8, (LEFT, RIGHT))
    assert [part.text for part in reading.captions if part] == ["Red", "Green"]


@pytest.mark.parametrize(("found", "score"), [((), 1.0), (((LEFT, 0.9),), 1.0), (((LEFT, 0.9), (RIGHT, 0.3)), 0.7)])
def test_fewer_than_two_sure_boxes_are_one_panel(found, score):
    reading = read(*found)

    assert (reading.is_multiple, reading.boxes) == (False, (Box(0, 0, 100, 200),))
    assert reading.score == pytest.approx(score)


def test_without_a_detector_the_classical_method_answers():
    assert DetectorHandle(None).build() is None
    assert not read_image(TOUCHING, "", PanelOptions(), None).is_multiple


def test_factory_is_found_by_its_python_path_and_gets_the_weights(monkeypatch, tmp_path):
    made = SimpleNamespace(plain=lambda: Detector((LEFT, 0.9)), learned=lambda path: Detector((RIGHT, len(str(path)))))
    monkeypatch.setitem(sys.modules, "own_panels", made)
    weights = tmp_path / "w.safetensors"
    weights.touch()

    assert DetectorHandle("own_panels:plain").build().detect(TOUCHING) == ((LEFT, 0.9),)
    assert DetectorHandle("own_panels:learned", weights).build().detect(TOUCHING) == ((RIGHT, len(str(weights))),)


@pytest.mark.parametrize("name", ["json:no_such_thing", "no_such_module_at_all:make", "nonsense", ""])
def test_factory_that_is_not_there_is_an_error_that_says_what_is_expected(name):
    with pytest.raises(DetectorError, match=r"package\.module:factory"):
        DetectorHandle(name).build()


def test_digest_follows_the_code_of_a_detector(monkeypatch):
    first = DetectorHandle("x:y").digest()
    monkeypatch.setattr(panel_detectors, "code_digest", lambda factory: f"other code of {factory}")
    assert DetectorHandle("x:y").digest() != first


def test_digest_follows_the_weights_and_absent_weights_are_an_error(tmp_path):
    weights = tmp_path / "w.safetensors"
    with pytest.raises(DetectorError, match="put it there"):
        DetectorHandle("x:y", weights).digest()
    weights.write_bytes(b"one")
    first = DetectorHandle("x:y", weights).digest()

    weights.write_bytes(b"two")

    assert len({first, DetectorHandle("x:y", weights).digest(), DetectorHandle(None).digest()}) == 3
