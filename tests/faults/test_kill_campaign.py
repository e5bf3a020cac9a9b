"""Whole runs killed at random times and run again: see `kill_campaign`, which makes other trials on demand."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

CAMPAIGN = Path(__file__).with_name("kill_campaign.py")


N_RANDOM = 20


@pytest.mark.timeout(1800)
def test_runs_killed_at_random_end_as_if_nothing_had_happened(tmp_path):
    memory = Path("/dev/shm")
    with tempfile.TemporaryDirectory(dir=memory if memory.is_dir() else tmp_path) as work:  # no power is cut here
        # A process of its own: forking needs one without threads
        trials = [f"--random={N_RANDOM}", f"--work={work}"]
        environment = {**os.environ, "COLUMNS": "200", "OMP_NUM_THREADS": "1"}
        command = [sys.executable, str(CAMPAIGN), *trials]
        done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert done.returncode == 0, f"{done.stdout[-4000:]}\n{done.stderr[-2000:]}"
    assert f"{N_RANDOM} trials" in done.stdout
    n_kills = int(done.stdout.rpartition(" trials, ")[2].partition(" ")[0])
    assert n_kills >= N_RANDOM // 2, "most runs were over before they were killed"


def test_difference_is_found(tmp_path):
    sys.path.insert(0, str(CAMPAIGN.parent))
    from run_outcome import Outcome, differences

    sound = Outcome({"a": "1", "b": "2"}, [("run", [("loss", 0), ("loss", 1)])], [])
    assert list(differences(sound, sound)) == []
    broken = Outcome({"a": "1", "b": "3", "c": "4"}, [("run", [("loss", 0)])], [".x.tmp"])
    assert [text.split(" ")[0] for text in differences(sound, broken)] == ["b", "c", "MLflow", ".x.tmp"]


def test_campaign_is_told_by_kind_and_on_the_page_what_to_do(tmp_path):
    project = CAMPAIGN.parents[2]
    for name in ("benchmarks/kill_campaign.py", "benchmarks/report.py", "docs/how-to/recover.md"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(project / name, tmp_path / name)
    log = tmp_path / "trials.jsonl"
    trials = [("random 0", 2, []), ("random 1", 1, ["x.tmp was left"]), ("aimed 7, moment 1, before change 3", 2, [])]
    log.write_text("\n".join(json.dumps({"trial": t, "kills": k, "different": d}) for t, k, d in trials))
    subprocess.run([sys.executable, tmp_path / "benchmarks/kill_campaign.py", "--log", log], check=True)
    rows = json.loads((tmp_path / "benchmarks/results/kill_campaign.json").read_text())["rows"]
    assert [(row["number"], row["kills"], row["identical"]) for row in rows] == [(2, 3, 1), (1, 2, 1)]
    page = (tmp_path / "docs/how-to/recover.md").read_text()
    assert "(5 kills and interruptions): killed at a random time, once or twice: 1 of 2 trials identical" in page
    assert page.count("<!-- end -->\n") == 1
