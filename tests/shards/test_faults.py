"""What is on disk after the machine, not the data, failed."""

import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from biomedica_kedro.shards.layout import ShardOptions
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.spread import TaskError

from .conftest import Corpus, figures

PROJECT = Path(__file__).resolve().parents[2]
ARTICLES = 40
SHARD_LIMIT = 200_000  # bytes: what comes before the shards is smaller
SCRIPT = f"""
import sys
from pathlib import Path
from biomedica_kedro.shards.layout import ShardOptions
sys.path.insert(0, "tests")
from tests.shards.conftest import Corpus, figures, serialize_corpus

options = ShardOptions(samples_per_shard=int(sys.argv[2]))
serialize_corpus(Corpus(figures(range({ARTICLES}))), Path(sys.argv[1]), shards=options)
"""


def start(folder, samples_per_shard, **options):
    command = [sys.executable, "-c", SCRIPT, str(folder), str(samples_per_shard)]
    return subprocess.Popen(command, cwd=PROJECT, stderr=subprocess.PIPE, **options)


def shard_bytes(folder):
    return {path.name: path.read_bytes() for path in sorted((folder / "dataset_shards").glob("*.tar"))}


def test_killed_run_leaves_whole_shards_and_its_rerun_gives_the_same_bytes(serialize, tmp_path):
    killed = tmp_path / "killed"
    process = start(killed, 2, start_new_session=True)
    shards = killed / "dataset_shards"
    while process.poll() is None and len(list(shards.glob("_commits/*.json"))) < 5:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    assert process.wait() == -signal.SIGKILL
    process.stderr.close()
    before = shard_bytes(killed)
    options = ShardOptions(samples_per_shard=2)
    clean = serialize(Corpus(figures(range(ARTICLES))), tmp_path / "clean", shards=options)
    wanted = shard_bytes(tmp_path / "clean")
    assert 5 <= len(before) < len(wanted)
    assert before == {name: wanted[name] for name in before}
    assert not (shards / "_complete.json").exists()
    serialize(Corpus(figures(range(ARTICLES))), killed, shards=options)
    assert shard_bytes(killed) == wanted
    assert sorted(path.name for path in shards.iterdir()) == sorted(
        path.name for path in clean["dataset_shards"].path.iterdir()
    )


def test_full_disk_names_the_stage_and_the_shard_and_leaves_no_half_shard(tmp_path):
    def limit():
        signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        resource.setrlimit(resource.RLIMIT_FSIZE, (SHARD_LIMIT, SHARD_LIMIT))

    process = start(tmp_path, 1000, preexec_fn=limit)
    error = process.communicate()[1].decode()
    assert process.returncode == 1
    assert "File too large" in error
    assert "stage 'write_shards' failed on batch 'biomedica-commercial-train-000000'" in error
    left = [path for path in (tmp_path / "dataset_shards").iterdir() if path.suffix in {".tar", ".tmp"}]
    assert all("train" not in path.name for path in left)


def test_target_that_cannot_be_written_is_a_clear_error(serialize, tmp_path):
    (tmp_path / "dataset_shards").write_text("a file where the folder should be")
    with pytest.raises((TaskError, OSError), match="dataset_shards"):
        serialize(Corpus(figures(range(4))), tmp_path)
    assert not BatchFolder(tmp_path / "shard_index").is_complete()
