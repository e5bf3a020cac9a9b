"""SIGINT and SIGTERM: the exit status, the command that resumes, a closed run."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

PROGRAM = """
    import os, signal, sys, time
    from types import SimpleNamespace
    from biomedica_kedro.hooks import ConsoleHooks, InterruptionHooks, Journal

    class Tracking:
        def record(self, run_params, pipeline, catalog, *, status, error):
            print(f"recorded {status}: {error}", flush=True)

    sys.argv = ["kedro", "run", "--params=a=1"]
    console = ConsoleHooks(Journal())
    hooks = InterruptionHooks(console, Tracking())
    hooks.before_pipeline_run({}, None, None)
    given = sys.stdin.read(1)
    if given != "b":
        console.before_node_run(SimpleNamespace(name="modeling.train_clip"))
    try:
        if given in "kb":
            os.kill(os.getpid(), signal.%s)
            time.sleep(10)
        hooks.after_pipeline_run()
    except Exception as error:
        print("taken for a fault of the data", error)
"""


def run(name, given):
    program = textwrap.dedent(PROGRAM % name)
    return subprocess.run([sys.executable, "-c", program], input=given, capture_output=True, text=True, timeout=120)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_interrupted_run_ends_in_order(name):
    done = run(name, "k")
    assert done.returncode == 128 + signal.Signals[name]
    assert done.stdout == f"recorded KILLED: {name}\n"
    assert f"interrupted by {name}" in done.stderr
    assert "kedro run --params=a=1 --from-nodes=modeling.train_clip" in done.stderr


def test_run_interrupted_between_two_stages_says_how_to_go_on():
    done = run("SIGINT", "b")
    assert done.returncode == 130
    assert "To resume, run the same command again (what is finished is kept).\n" in done.stderr


def test_run_that_ends_by_itself_records_nothing_more():
    done = run("SIGINT", "-")
    assert (done.returncode, done.stdout) == (0, "")
