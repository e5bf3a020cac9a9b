"""Extraction killed in the middle of a stage, and started again; items that kill their worker."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from io import BytesIO
from pathlib import Path

import pytest
from PIL import Image

from biomedica_kedro.images.decode import ImageLimits
from biomedica_kedro.pipelines.extraction.stages import parse_articles, verify_images
from biomedica_kedro.pmc.archive import ARCHIVE, ArchiveWriter
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.run import BatchOptions
from biomedica_kedro.stages.stage import Batch

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))  # for the process that is killed
from engine import commit, run_node

BATCHES = BatchOptions(count=4)
NAMES = [f"{n:04d}" for n in range(4)]
N_ARTICLES = 12
SECONDS = 60


def jpeg(seed: int) -> bytes:
    file = BytesIO()
    Image.effect_noise((600, 600), seed + 10).convert("RGB").save(file, "JPEG")
    return file.getvalue()


def write_archive(folder: Path, n_paragraphs: int = 400) -> BatchFolder:
    """Four batches of articles that take a while to read, each with one figure."""
    archive = BatchFolder(folder)
    places = {batch: archive.beside(batch, ARCHIVE) for batch in NAMES}
    places[NAMES[0]].parent.mkdir(parents=True)
    tables = {}
    text = "<p>Leaves grow, see <xref rid='F1'>Fig 1</xref>.</p>" * n_paragraphs
    figure = "<fig id='F1'><caption><p>Leaves.</p></caption><graphic xlink:href='f1'/></fig>"
    for number, batch in enumerate(NAMES):
        with ArchiveWriter(places[batch]) as writer:
            for n in range(N_ARTICLES):
                article_id = f"PMC{100 * (number + 1) + n}.1"
                xml = f"<article xmlns:xlink='http://www.w3.org/1999/xlink'><body>{text}{figure}</body></article>"
                writer.add(article_id, f"{article_id}.xml", xml.encode(), kind="xml")
                writer.add(article_id, "f1.jpg", jpeg(n), kind="media")
        tables[batch] = writer.index()
    return commit(archive, tables, archive=places)


def extract(archive: Path, root: Path) -> dict[str, BatchFolder]:
    """The two long stages of extraction, each output in its folder below `root`."""
    found = {"article_archive": BatchFolder(archive)}
    for name in ("parse_articles", "verify_images"):
        found |= run_node(name, root, batches=BATCHES, **found)
    return found


def committed(folder: Path) -> list[str]:
    return [name for name in NAMES if BatchFolder(folder).commit(name) is not None]


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def run_and_kill(archive: Path, root: Path, output: str) -> list[str]:
    """Kill extraction while a batch after the first of `output`'s is being computed; the batches done until then."""
    process = subprocess.Popen([sys.executable, __file__, str(archive), str(root)])
    first, second = (root / output / f".{name}.flight" for name in NAMES[:2])
    deadline = time.monotonic() + SECONDS
    while not (second.exists() and second.read_text()) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.001)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    assert not first.exists()
    return committed(root / output)


@pytest.fixture(scope="module")
def archive(tmp_path_factory) -> Path:
    return write_archive(tmp_path_factory.mktemp("archive") / "article_archive").path


@pytest.fixture(scope="module")
def uninterrupted(archive, tmp_path_factory) -> dict[str, bytes]:
    root = tmp_path_factory.mktemp("clean")
    extract(archive, root)
    return contents(root)


@pytest.mark.parametrize("output", ["articles", "figure_images"])
def test_killed_stage_started_again_gives_the_same_bytes(archive, uninterrupted, tmp_path, output):
    done = run_and_kill(archive, tmp_path, output)
    assert done
    assert done != NAMES
    kept = {name: (tmp_path / output / f"{name}.parquet").stat().st_mtime_ns for name in done}
    extract(archive, tmp_path)
    assert contents(tmp_path) == uninterrupted
    again = {name: (tmp_path / output / f"{name}.parquet").stat().st_mtime_ns for name in done}
    assert again == kept, "a batch that was done was done again"


def test_items_that_killed_their_worker_are_rejected_and_the_rest_is_kept(archive, tmp_path):
    folder = BatchFolder(archive)

    def batch(name: str, inputs: dict[str, object], quarantine: str) -> Batch:
        outputs = {name: BatchFolder(tmp_path / name)}
        return Batch("0000", "s", {"article_archive": folder, **inputs}, outputs, "x", frozenset({quarantine}))

    parsing = batch("articles", inputs={}, quarantine="PMC103.1")
    parsed = parse_articles(parsing)
    assert [(reject.source, reject.reason) for reject in parsing.ledger.rejects] == [("PMC103.1", "worker_killed")]
    assert parsed["articles"].num_rows == N_ARTICLES - 1

    figures = BatchFolder(tmp_path / "given")
    figures.write_table("0000", parsed["figures"])
    verifying = batch("figure_images", inputs={"figures": figures}, quarantine="PMC105.1/F1/0")
    images = verify_images(verifying, ImageLimits())
    assert [reject.reason for reject in verifying.ledger.rejects] == ["worker_killed"]
    assert images["figure_images"].num_rows == N_ARTICLES - 2


if __name__ == "__main__":
    extract(Path(sys.argv[1]), Path(sys.argv[2]))
