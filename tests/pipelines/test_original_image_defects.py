"""Defects of the original's images and keys (biomedica-etl), each with the behaviour that replaces it.

The original kept `*.jpg` in the order of the file system, hashed a PNG of a thumbnail, saved every image once more as
JPEG, and gave a figure without a file the size of the one before it; see docs/how-to/original-json.md.
"""

from __future__ import annotations

import hashlib
from io import BytesIO

import pytest
from PIL import Image

from biomedica_kedro.images.fingerprints import hamming_distance
from biomedica_kedro.pmc.archive import ArchiveReader
from tests.pipelines.test_extraction import BATCH, article, extract, fig, graphic, rejects, rows, write_archive


def picture(kind: str, mode: str = "RGB", size: tuple[int, int] = (96, 64), **options: object) -> bytes:
    file = BytesIO()
    image = Image.effect_mandelbrot(size, (-2, -1.5, 1, 1.5), 50)
    (image.convert("I").convert(mode) if mode == "I;16" else image.convert(mode)).save(file, kind, **options)
    return file.getvalue()


@pytest.fixture
def found(run_node, tmp_path):
    """Extract one article from its body and files."""

    def run(body: str, **files: bytes):
        named = {name.replace("_", "."): content for name, content in files.items()}
        archive = write_archive(tmp_path / "article_archive", {"PMC1.1": {"PMC1.1.xml": article(body), **named}})
        return extract(archive, run_node, tmp_path) | {"article_archive": archive}

    return run


def test_figures_are_kept_whatever_their_format(found):
    files = {"a_png": picture("PNG"), "b_gif": picture("GIF", "P"), "c_tif": picture("TIFF"), "d_jpg": picture("JPEG")}
    folders = found("".join(map(fig, "abcd")), **files)
    assert [row["format"] for row in rows(folders, "image_caption_pairs")] == ["png", "gif", "tif", "jpg"]


def test_keys_do_not_depend_on_the_order_of_files(found):
    folders = found(fig("z") + fig("a"), a_jpg=picture("JPEG"), z_jpg=picture("JPEG", size=(80, 80)))
    assert [row["key"] for row in rows(folders, "image_caption_pairs")] == ["PMC1_1-z-0", "PMC1_1-a-0"]


def test_supplementary_images_are_no_figures(found):
    supplement = f"<supplementary-material id='S1'>{graphic('s')}</supplementary-material>"
    folders = found(fig("a") + supplement, a_jpg=picture("JPEG"), s_jpg=picture("JPEG"))
    assert [row["figure_id"] for row in rows(folders, "image_caption_pairs")] == ["a"]


def test_the_hash_is_of_the_published_bytes_and_another_finds_near_duplicates(found):
    first, second = picture("JPEG", quality=95), picture("JPEG", quality=60)
    one, other = rows(found(fig("a") + fig("b"), a_jpg=first, b_jpg=second), "figure_images")
    assert (one["sha256"], other["sha256"]) == tuple(hashlib.sha256(content).hexdigest() for content in (first, second))
    assert hamming_distance(one["phash"], other["phash"]) <= 4


@pytest.mark.parametrize(
    ("kind", "mode"), [("PNG", "RGBA"), ("PNG", "P"), ("PNG", "LA"), ("PNG", "I;16"), ("JPEG", "RGB"), ("JPEG", "CMYK")]
)
def test_images_are_never_encoded_again(found, kind, mode):
    content = picture(kind, mode)
    folders = found(fig("a"), **{f"a_{kind.lower()}": content})
    (image,) = rows(folders, "figure_images")
    with ArchiveReader(folders["article_archive"], BATCH) as archive:
        assert archive.read("PMC1.1", image["file_name"]) == content
    assert (image["mode"], image["n_bytes"]) == (mode, len(content))
    assert len(rows(folders, "image_caption_pairs")) == 1


def test_a_missing_file_takes_no_size_from_the_figure_before(found):
    files = {"a_jpg": picture("JPEG", size=(90, 60)), "c_jpg": picture("JPEG", size=(40, 120))}
    folders = found(fig("a") + fig("gone") + fig("c"), **files)
    sizes = {row["figure_id"]: (row["width"], row["height"]) for row in rows(folders, "figure_images")}
    assert sizes == {"a": (90, 60), "c": (40, 120)}
    assert [(row["source"], row["reason"]) for row in rejects(folders, "figure_images")] == [
        ("PMC1.1/gone/0", "missing_file")
    ]
