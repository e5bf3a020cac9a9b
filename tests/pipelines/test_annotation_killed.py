"""Embedding killed in the middle of its second batch, and started again."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

from biomedica_kedro.batches import BatchFolder, BatchOptions
from biomedica_kedro.labels.embedding import EmbedOptions
from biomedica_kedro.labels.encoders import DescriptorEncoder, EncoderChoice, EncoderHandle
from biomedica_kedro.pipelines.annotation import nodes

BATCHES = BatchOptions(count=3, workers=0)
OUTPUTS = ("image_embeddings", "unusable_images")
IMAGES_PER_FORWARD = 4
SECONDS = 60


def embed(upstream: Path, root: Path) -> None:
    outputs = nodes.embed_images(
        BatchFolder(upstream / "pairs"), BatchFolder(upstream / "archive"), EncoderHandle(EncoderChoice()),
        EmbedOptions(images_per_forward=IMAGES_PER_FORWARD), BATCHES,
    )  # fmt: skip
    for output in outputs:
        output.deliver(BatchFolder(root / output.name))


def start(upstream: Path, root: Path, log: Path, hang_after: int) -> subprocess.Popen[bytes]:
    """Embed in a process that notes the images it encodes, and hangs when so many calls have been made."""
    root.mkdir(exist_ok=True)
    log.touch()
    return subprocess.Popen([sys.executable, __file__, str(upstream), str(root), str(log), str(hang_after)])


def contents(root: Path) -> dict[str, bytes]:
    return {str(path.relative_to(root)): path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}


def test_killed_embedding_encodes_no_finished_batch_again_and_gives_the_same_bytes(tmp_path):
    from tests.labels.small_upstream import write_upstream

    pairs, _ = write_upstream(tmp_path)
    sizes = [pairs.table(name).num_rows for name in pairs.names()]
    first = -(-sizes[0] // IMAGES_PER_FORWARD)
    killed, root = tmp_path / "killed.log", tmp_path / "made"
    process = start(tmp_path, root, killed, hang_after=first + 1)
    deadline = time.monotonic() + SECONDS
    while len(killed.read_text().split()) < first + 1 and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.01)
    process.kill()
    assert process.wait() == -signal.SIGKILL, "it ended before it could be killed"
    done = {path: path.stat().st_mtime_ns for output in OUTPUTS for path in (root / output).glob("*.json")}
    assert {path.name.partition(".")[0] for path in done} == {pairs.names()[0]}
    assert not any(BatchFolder(root / output).is_complete() for output in OUTPUTS)

    assert start(tmp_path, root, tmp_path / "again.log", hang_after=0).wait(SECONDS) == 0
    assert start(tmp_path, tmp_path / "clean", tmp_path / "clean.log", hang_after=0).wait(SECONDS) == 0

    assert sum(map(int, (tmp_path / "again.log").read_text().split())) == sum(sizes[1:])
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert contents(root) == contents(tmp_path / "clean")


class NotingEncoder(DescriptorEncoder):
    """Notes how many images each call gets; hangs after the last one asked for."""

    log: Path
    hang_after: int

    def encode(self, images):
        with self.log.open("a") as file:
            file.write(f"{len(images)}\n")
        if self.hang_after and len(self.log.read_text().split()) == self.hang_after:
            time.sleep(2 * SECONDS)
        return super().encode(images)


if __name__ == "__main__":
    NotingEncoder.log, NotingEncoder.hang_after = Path(sys.argv[3]), int(sys.argv[4])
    EncoderHandle.build = lambda _: NotingEncoder()  # type: ignore[method-assign]
    embed(Path(sys.argv[1]), Path(sys.argv[2]))
