"""Embedding killed in the middle of its second batch, and started again; images that kill their worker."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from biomedica_kedro.images.decode import open_image
from biomedica_kedro.labels.embedding import EmbedOptions
from biomedica_kedro.labels.encoders import DescriptorEncoder, EncoderChoice, EncoderHandle
from biomedica_kedro.pipelines.annotation import stages
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.run import Work
from biomedica_kedro.stages.stage import Batch

IMAGES_PER_FORWARD = 4
SECONDS = 60


def embedding(upstream: Path, root: Path, threads: int = 1) -> Work:
    return Work(
        function=stages.embed_images,
        outputs={"image_embeddings": BatchFolder(root / "image_embeddings")},
        options=[EmbedOptions(images_per_forward=IMAGES_PER_FORWARD, decode_threads=threads)],
        each={name: BatchFolder(upstream / name) for name in ("image_caption_pairs", "article_archive")},
        whole={"vision_encoder": EncoderHandle(EncoderChoice())},
    )


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
    done = {path: path.stat().st_mtime_ns for path in (root / "image_embeddings" / "_commits").glob("*.json")}
    assert {path.name.partition(".")[0] for path in done} == {pairs.names()[0]}
    assert not BatchFolder(root / "image_embeddings").is_complete()

    assert start(tmp_path, root, tmp_path / "again.log", hang_after=0).wait(SECONDS) == 0
    assert start(tmp_path, tmp_path / "clean", tmp_path / "clean.log", hang_after=0).wait(SECONDS) == 0

    assert sum(map(int, (tmp_path / "again.log").read_text().split())) == sum(sizes[1:])
    assert {path: path.stat().st_mtime_ns for path in done} == done
    assert contents(root) == contents(tmp_path / "clean")


def open_or_die(content: bytes):
    """Decoding that kills the process on some bytes, as a fault of a library would."""
    if content.startswith(b"DEADLY"):
        os.kill(os.getpid(), signal.SIGKILL)
    return open_image(content)


def survives(batch: Batch, options: EmbedOptions) -> bool:
    """Whether a worker lives through a batch; Dask gives it several tries, see spread."""
    for _ in range(2):
        worker = os.fork()
        if worker == 0:
            stages.embed_images(batch, options)
            os._exit(0)
        if os.waitpid(worker, 0)[1] == 0:
            return True
    return False


@pytest.mark.parametrize("first", [0, 2])
@pytest.mark.parametrize("threads", [1, 3])
def test_image_that_kills_its_worker_becomes_a_reject_and_no_other_does(tmp_path, monkeypatch, threads, first):
    from tests.labels.small_upstream import write_upstream

    whole, _ = write_upstream(tmp_path / "whole")
    keys = whole.table("0000")["key"].to_pylist()
    deadly = [keys[first], keys[9]]
    write_upstream(tmp_path / "deadly", dict.fromkeys(deadly, b"DEADLY"))
    monkeypatch.setattr(stages, "open_image", open_or_die)
    work = embedding(tmp_path / "deadly", tmp_path / "made", threads)
    inputs = {**work.each, **work.whole}
    batch = Batch("0000", "embed_images", inputs, work.outputs, "digest")
    options = work.options[0]

    while not survives(batch, options):
        batch = batch.without_last_item()
    batch.commit(stages.embed_images(batch, options))

    commit = work.outputs["image_embeddings"].commit("0000")
    assert batch.quarantine == set(deadly)
    assert (commit.rows, commit.rejects) == (len(keys) - 2, {"worker_killed": 2})


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
    embedding(Path(sys.argv[1]), Path(sys.argv[2])).run()
