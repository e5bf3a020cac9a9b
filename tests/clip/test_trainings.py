"""Folders of trainings: what a killed process left in them goes when the training is finished."""

import socket
import subprocess
import sys

import pyarrow as pa

from biomedica_kedro.clip.trainings import LATEST, declare_finished, finished_history, make_latest, training_folder

HISTORY = pa.table({"step": [0, 1]})


def test_finished_training_holds_nothing_that_a_kill_left(tmp_path):
    training = training_folder(tmp_path, "biomedica-tiny", "0123456789")
    training.mkdir(parents=True)
    killed = subprocess.Popen([sys.executable, "-c", "pass"])
    killed.wait()
    left = f"{killed.pid}@{socket.gethostname()}.tmp"
    for name in (f".all.safetensors.{left}", f"..all.safetensors.{left}.{left}"):
        (training / name).write_bytes(b"half")
    (training / ".tmpSFTq1e").write_bytes(b"half")  # as safetensors names it
    (training / "all.safetensors").write_bytes(b"weights")
    (tmp_path / f".{LATEST}.{killed.pid}").symlink_to(training)
    assert finished_history(training) is None

    declare_finished(training, HISTORY)
    make_latest(tmp_path, training)

    assert finished_history(training) == HISTORY
    assert sorted(path.name for path in training.iterdir()) == ["all.safetensors", "history.parquet"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["all.safetensors", LATEST, "trainings"]
    assert (tmp_path / LATEST).resolve() == training.resolve()
