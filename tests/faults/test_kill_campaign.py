"""Whole runs killed at random, interrupted in order, and started by ten at once: see `kill_campaign`."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).with_name("kill_campaign.py")


@pytest.mark.skipif("BIOMEDICA_TRIALS" not in os.environ, reason="minutes long: set BIOMEDICA_TRIALS=20")
@pytest.mark.timeout(3600)
def test_runs_killed_at_random_end_as_if_nothing_had_happened(tmp_path):
    n_random = int(os.environ["BIOMEDICA_TRIALS"])
    trials = [f"--random={n_random}", "--interrupted=1", "--moved=1"]
    # A process of its own: forking needs one without threads
    command = [sys.executable, str(CAMPAIGN), *trials, f"--work={tmp_path}"]
    environment = {**os.environ, "COLUMNS": "200"}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-2000:]}"
    assert f"{n_random + 2} trials" in done.stdout
    n_kills = int(done.stdout.rpartition(" trials, ")[2].partition(" ")[0])
    assert n_kills >= n_random // 2, "most runs were over before they were killed"


def test_difference_is_found(tmp_path):
    sys.path.insert(0, str(CAMPAIGN.parent))
    from kill_campaign import Outcome, differences

    sound = Outcome({"a": "1", "b": "2"}, [("run", [("loss", 0), ("loss", 1)])], [])
    assert list(differences(sound, sound)) == []
    broken = Outcome({"a": "1", "b": "3", "c": "4"}, [("run", [("loss", 0)])], [".x.tmp"])
    assert [text.split(" ")[0] for text in differences(sound, broken)] == ["b", "c", "MLflow", ".x.tmp"]
