import sys
from types import SimpleNamespace

import pytest
from PIL import Image

from biomedica_kedro.images.boxes import Box
from biomedica_kedro.images.panel_detectors import DetectOptions, DetectorError, DetectorHandle, read_image
from biomedica_kedro.images.panels import PanelOptions
from biomedica_kedro.stages.identity import digest_of

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


@pytest.fixture
def own_module(monkeypatch, tmp_path):
    monkeypatch.syspath_prepend(tmp_path)
    source = tmp_path / "own_detector_of_this_test.py"
    source.write_text("def make(): ...\n")
    return source


def test_digest_follows_the_source_of_a_detector(own_module):
    handle = DetectorHandle(f"{own_module.stem}:make")
    first = handle.digest()
    own_module.write_text("def make(): return None\n")
    assert handle.digest() != first


def test_digest_of_a_detector_that_is_not_there_is_an_error(own_module):
    with pytest.raises(DetectorError, match=r"expected package\.module:factory: no module 'no_such_module'"):
        DetectorHandle("no_such_module:make").digest()


def test_digest_follows_the_weights_and_absent_weights_are_an_error(own_module, tmp_path):
    weights, factory = tmp_path / "w.safetensors", f"{own_module.stem}:make"
    with pytest.raises(DetectorError, match="put it there"):
        DetectorHandle(factory, weights).digest()
    weights.write_bytes(b"one")
    first = DetectorHandle(factory, weights).digest()

    weights.write_bytes(b"two")

    assert len({first, DetectorHandle(factory, weights).digest(), DetectorHandle(None).digest()}) == 3


def test_options_count_by_the_content_of_the_weights_and_not_by_their_place(own_module, tmp_path):
    digests = []
    for name, content in (("a", b"one"), ("b", b"one"), ("c", b"two")):
        (tmp_path / name).write_bytes(content)
        options = DetectOptions(detector=f"{own_module.stem}:make", detector_weights=tmp_path / name)
        digests.append(digest_of(options))

    assert digests[0] == digests[1] != digests[2]
    assert digest_of(DetectOptions(threshold=0.6)) != digest_of(DetectOptions())
