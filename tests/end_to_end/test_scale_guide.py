"""The commands of docs/how-to/scale.md, each run as it stands: every setting ends with the same bytes.

What is changed is what the guide's reader changes too (hosts, folders, counts); the runs that would take all pipelines
are told to stop after ingestion.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from tests.end_to_end import test_object_store as on_s3

pytest.importorskip("moto")

HOST = "127.0.0.1"
PAGE = Path(__file__).resolve().parents[2] / "docs" / "how-to" / "scale.md"
corpus, store = on_s3.corpus, on_s3.store  # fixtures of this module too
ONE, SHARED, STORE, ARRAY = (
    "One machine", "A cluster with a shared disk", "A cluster on an object store", "Array jobs without a scheduler",
)  # fmt: skip


def commands() -> dict[str, list[str]]:
    """The lines of the shell blocks under each heading."""
    found = {}
    for section in re.split(r"^## ", PAGE.read_text(), flags=re.M)[1:]:
        block = re.findall(r"^```sh\n(.*?)^```$", section, flags=re.M | re.S)
        found[section.splitlines()[0]] = "".join(block).splitlines()
    return found


def start(line: str, project: on_s3.Project, environment: dict[str, str]) -> subprocess.Popen[bytes]:
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    out = (project.path / "printed.txt").open("a")
    return subprocess.Popen(
        line, shell=True, cwd=project.path, env={**environment, "PATH": path},
        stdout=out, stderr=subprocess.STDOUT, start_new_session=True,
    )  # fmt: skip


def finish(run: subprocess.Popen[bytes], project: on_s3.Project) -> None:
    assert run.wait(on_s3.SECONDS) == 0, (project.path / "printed.txt").read_text()[-3000:]


def run_block(lines: list[str], project: on_s3.Project, changes: dict[str, str], **more: str) -> None:
    """Run a block as one shell, whose scheduler and worker stand in the background until the last line has ended."""
    text = "\n".join(line + " &" if line.startswith("dask ") else line for line in lines)
    for said, meant in changes.items():
        assert said in text, f"{said!r} is not in the guide's block"
        text = text.replace(said, meant)
    environment = on_s3.environment_of(project, **more)
    run = start(f"set -e\n{text} --pipelines=ingestion", project, environment)
    try:
        finish(run, project)
    finally:
        with suppress(ProcessLookupError):  # nothing stood in the background
            os.killpg(run.pid, signal.SIGKILL)


def free_port() -> str:
    return str(next(port for port in range(21_000, 32_000, 7) if not on_s3.answers(port)))


def test_every_setting_of_the_guide_ends_with_the_same_bytes(tmp_path, corpus, store):
    settings, client = store
    told = commands()
    project = on_s3.project_of(tmp_path / "project", corpus)
    two, mounted = tmp_path / "two", tmp_path / "mounted"
    run_block(told[ONE][:1], project, {})
    run_block(told[ONE][1:], project, {"workers=8": f"workers=2,data_root={two}"})
    run_block(told[SHARED], project, {"head": HOST, "8786": free_port(), "/shared/biomedica": str(mounted)})
    loopback = {name: settings[name] for name in ("AWS_ALLOW_HTTP", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST")}
    at = {"head": HOST, "8786": free_port(), "https://storage.example.org": settings["AWS_ENDPOINT_URL"]}
    run_block(told[STORE], project, at, **loopback)

    wanted = on_s3.compared(on_s3.in_folder(project.path / "data"))
    assert any(name.startswith("01_raw/article_archive/") for name in wanted)
    assert on_s3.compared(on_s3.in_folder(two)) == wanted
    assert on_s3.compared(on_s3.in_folder(mounted)) == wanted
    assert on_s3.compared(on_s3.in_bucket(client, "biomedica")) == wanted

    jobs_of_an_array(told[ARRAY], project)


def jobs_of_an_array(lines: list[str], project: on_s3.Project) -> None:
    """Two jobs at the same time do what the guide's hundred do; both end, and the stage is complete."""
    (line,) = lines
    assert "array_count=100" in line
    environments = [on_s3.environment_of(project, SLURM_ARRAY_TASK_ID=str(job)) for job in range(2)]
    jobs = [start(line.replace("=100", "=2"), project, own) for own in environments]
    for job in jobs:
        finish(job, project)
    assert (project.path / "data/03_primary/image_caption_pairs/_complete.json").is_file()
