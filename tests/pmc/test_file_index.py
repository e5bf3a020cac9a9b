"""Which file a graphic names."""

from __future__ import annotations

import pytest

from biomedica_kedro.pmc.file_index import FileIndex
from biomedica_kedro.pmc.file_names import stem_of
from biomedica_kedro.records import DataError


@pytest.mark.parametrize(
    ("names", "files", "found"),
    [
        (["a.jpg"], {"a.jpg": 5, "a.png": 9}, "a.jpg"),
        (["A.JPG"], {"a.jpg": 5}, "a.jpg"),
        (["a"], {"a.gif": 9, "a.jpg": 5}, "a.jpg"),
        (["a.tif"], {"a.jpg": 5}, "a.jpg"),
        (["a.eps"], {"a.eps": 9, "a.png": 5}, "a.png"),
        (["pone.0001.g001"], {"pone.0001.g001.png": 5, "pone.0001.g002.png": 5}, "pone.0001.g001.png"),
        (["journal.pone.0001.g001"], {"g001.png": 5, "g002.png": 5}, "g001.png"),
        (["g001"], {"x-12-g001.jpg": 5, "x-12-g002.jpg": 5}, "x-12-g001.jpg"),
        (["f_PB", "f_OC"], {"f_PB.jpg": 5, "f_OC.jpg": 9}, "f_OC.jpg"),
        (["a_small", "a"], {"a_small.jpg": 99, "a.jpg": 5}, "a.jpg"),
        (["a_small"], {"a_small.jpg": 9}, "a_small.jpg"),
        (["a_lrg.jpg"], {"a.jpg": 5, "b.jpg": 9}, "a.jpg"),
        (["A.large.jpg"], {"A.jpg": 5}, "A.jpg"),
        (["a"], {"a_lrg.jpg": 9, "a_small.gif": 5}, "a_lrg.jpg"),
        (["a.jpg"], {"a.jpg": 5, "a_lrg.jpg": 9}, "a.jpg"),
        (["a_thumb"], {"a.png": 5}, "a.png"),
        (["F1.medium.gif"], {"F1.large.jpg": 9}, "F1.large.jpg"),
        (["growth-medium"], {"growth.jpg": 9, "growth-medium.jpg": 5}, "growth-medium.jpg"),
        (["a.tif"], {"a.tif.jpg": 5}, "a.tif.jpg"),
        (["a.tif.jpg"], {"a.png": 5}, "a.png"),
        (["Aufnahme-ä"], {"Aufnahme-a\u0308.jpg": 5}, "Aufnahme-a\u0308.jpg"),
        (["ﬁg-A\u030a.PNG"], {"ﬁg-å.png": 5}, "ﬁg-å.png"),
        (["a.webp"], {"a.webp": 5, "a.jpg": 9}, "a.webp"),
        (["a"], {"a.gif": 9, "a.webp": 5}, "a.webp"),
    ],
    ids=[
        "name", "case", "stem, gif last", "other extension", "drawing beside image", "dots in stem", "prefix in href",
        "prefix in file", "largest rendition", "no thumbnail", "only a thumbnail",
        "large one asked", "large one asked with dot", "only a large one", "both sizes", "thumbnail asked",
        "medium size", "medium of cells",
        "two extensions", "two extensions asked", "accents apart", "accents composed", "WebP", "WebP before GIF",
    ],
)  # fmt: skip
def test_file_of_a_graphic(names, files, found):
    assert FileIndex(files).find(names) == found


@pytest.mark.parametrize(
    ("names", "files", "reason"),
    [
        (["a"], {}, "missing_file"),
        (["g1"], {"x-g1.jpg": 1, "y-g1.jpg": 1}, "missing_file"),
        (["g1"], {"xg1.jpg": 1}, "missing_file"),
        (["a"], {"a.pdf": 1}, "unsupported_format"),
    ],
    ids=["nothing", "ambiguous ending", "ending without separator", "only a drawing"],
)
def test_no_file_of_a_graphic(names, files, reason):
    with pytest.raises(DataError) as caught:
        FileIndex(files).find(names)
    assert caught.value.reason == reason


def test_image_id_is_the_stem():
    assert stem_of("pone.0046493.g001.png") == "pone.0046493.g001"
