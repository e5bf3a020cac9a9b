"""All six pipelines with their data in S3, two workers elsewhere, both the driver and a worker killed.

The corpus is tiny: what is looked at is that the bytes are those of a run in a folder, not what the model learns.
"""

from __future__ import annotations

import hashlib
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from biomedica_corpus import CorpusOptions, write_corpus
from tests.end_to_end.conftest import Project, make_project

pytest.importorskip("moto")

BUCKET, SECONDS = "bucket", 600
KEYS = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1"}
CORPUS = CorpusOptions(articles=24, held_out_articles=8, held_out_figures=4, workers=1)
PARAMETERS = """
batches: {count: 3}
annotation:
  cluster_images: {clusters: 8}
  draw_annotation_sheets: {representative: 1, random: 1, boundary: 1}
serialization: {assign_shards: {samples_per_shard: 40}}
modeling: {train_clip: {steps: 3, batch_size: 8, checkpoints: {every: 2, keep: 1, validate_every: 2}}}
evaluation:
  list_active_tasks: {tasks: [embedded_figure_type]}
  models: [{id: biomedica-clip, source: checkpoint}]
  score_classification: {n_resamples: 100, n_resamples_ranked: 50}
  score_retrieval: {n_resamples: 100, recall_at: [1]}
  score_probes: {folds: 2, n_resamples: 100, n_resamples_ranked: 50, repeats: 2, shots: [1]}
"""
CATALOG = """
_root: ${{runtime_params:data_root,${{globals:data_root}}}}
article_source: {{type: biomedica_kedro.datasets.sources.MirrorDataset, url: {corpus}}}
benchmark_samples:
  {{type: biomedica_kedro.datasets.benchmark.SamplesDataset, folders: [{corpus}/benchmark]}}
expert_votes:
  type: biomedica_kedro.datasets.expert_votes.ExpertVotesDataset
  path: ${{_root}}/01_raw/expert_votes
  default: {corpus}/annotations/expert_votes.csv
known_classes:
  type: biomedica_kedro.datasets.optional_table.OptionalTableDataset
  filepath: {corpus}/truth.parquet
  columns: [key, panel_type, class_ids, primary_labels, secondary_labels]
"""
# What tells of the run beside its data: when, where, how fast
OF_THE_RUN = ("benchmark_runs.json", "champion.json")


@pytest.fixture(scope="module")
def corpus(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("drawn") / "corpus"
    write_corpus(folder, CORPUS)
    return folder


@pytest.fixture(scope="module")
def store() -> Any:
    """An S3 of moto's, in a process of its own, with an empty bucket: the environment that leads there."""
    boto3 = pytest.importorskip("boto3")
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id="k", aws_secret_access_key="s"
    )
    wait_until(lambda: answers(port), "moto does not answer")
    client.create_bucket(Bucket=BUCKET)
    settings = {"AWS_ENDPOINT_URL": url, "AWS_ALLOW_HTTP": "true", "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false"}
    yield {**KEYS, **settings}, client
    server.kill()
    server.wait()


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(is_so: Any, otherwise: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not is_so():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.5)  # a look is a listing of the whole bucket, by a server that the run needs


def project_of(path: Path, corpus: Path) -> Project:
    project = make_project(path)
    (path / "conf/local/parameters.yml").write_text(PARAMETERS)
    (path / "conf/local/catalog.yml").write_text(CATALOG.format(corpus=corpus))
    return project


def environment_of(project: Project, **more: str) -> dict[str, str]:
    own = {"BIOMEDICA_SCRATCH": str(project.path / "scratch"), "PYTHONPATH": str(project.path / "src")}
    return {**project.environment, **own, "OMP_NUM_THREADS": "1", **more}


def kedro(project: Project, environment: dict[str, str], *arguments: str) -> subprocess.Popen[str]:
    command = [str(Path(sys.executable).with_name("kedro")), "run", *arguments]
    out = (project.path / "printed.txt").open("a")
    return subprocess.Popen(
        command, cwd=project.path, env=environment, stdout=out, stderr=subprocess.STDOUT, start_new_session=True
    )  # type: ignore[return-value]


def in_folder(root: Path) -> dict[str, str]:
    """MD5 by name."""
    files = sorted(path for path in root.rglob("*") if path.is_file())
    return {str(path.relative_to(root)): hashlib.md5(path.read_bytes()).hexdigest() for path in files}


def in_bucket(client: Any, prefix: str) -> dict[str, str]:
    """MD5 by name: the store's own, but for objects that came to it in parts."""
    found: dict[str, str] = {}
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/"):
        for entry in page.get("Contents", []):
            digest = entry["ETag"].strip('"')
            if "-" in digest:
                digest = hashlib.md5(client.get_object(Bucket=BUCKET, Key=entry["Key"])["Body"].read()).hexdigest()
            found[entry["Key"].removeprefix(f"{prefix}/")] = digest
    return found


# kept for updates and by later trainings in a folder only; LanceDB names its files at random
COMPARED = {"01", "02", "03", "04", "05"}  # layers; a training's last bits are not those of the folder's yet
NOT_COMPARED = {".kept", "_lance", "trainings", "latest"}


def compared(files: dict[str, str]) -> dict[str, str]:
    """What must be the same wherever the data lie: all but what tells of the run, and what updates are spared by."""
    return {
        name: digest
        for name, digest in files.items()
        if name[:2] in COMPARED and not NOT_COMPARED & set(name.split("/")) and Path(name).name not in OF_THE_RUN
    }


class Cluster:
    """A scheduler and two workers that are restarted by nobody: processes of their own, with scratch of their own."""

    def __init__(self, environment: dict[str, str], folder: Path) -> None:
        dask = str(Path(sys.executable).with_name("dask"))
        port = next(port for port in random.sample(range(20_000, 32_000), 100) if not answers(port))
        self.address = f"tcp://127.0.0.1:{port}"
        scheduler = [dask, "scheduler", "--host", "127.0.0.1", "--port", str(port), "--no-dashboard", "--no-show"]
        worker = [dask, "worker", self.address, "--nthreads", "1", "--host", "127.0.0.1", "--no-dashboard"]
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "start_new_session": True}
        self.scheduler = subprocess.Popen(scheduler, env=environment, **quiet)  # type: ignore[call-overload]
        wait_until(lambda: answers(port), "the scheduler does not answer")
        self.workers = []
        for name in ("one", "two"):
            own = {**environment, "BIOMEDICA_SCRATCH": str(folder / name)}
            command = [*worker, "--name", name, "--local-directory", str(folder)]
            self.workers.append(subprocess.Popen(command, env=own, **quiet))  # type: ignore[call-overload]

    def stop(self) -> None:
        for process in [*self.workers, self.scheduler]:
            if process.poll() is None:
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def test_killed_runs_on_s3_end_with_the_bytes_of_a_run_in_a_folder(tmp_path, corpus, store):
    settings, client = store
    local = project_of(tmp_path / "local", corpus)
    here = kedro(local, environment_of(local))
    remote = project_of(tmp_path / "remote", corpus)
    environment = environment_of(remote, **settings)
    cluster = Cluster(environment, tmp_path / "workers")
    options = [f"--params=data_root=s3://{BUCKET}/root,batches.address={cluster.address}"]
    events: list[int] = []

    def committed() -> int:
        return sum("/_commits/" in name for name in names(client, "root"))

    def kill_worker() -> None:
        wait_until(lambda: committed() >= 8, "no batch was committed")
        os.killpg(cluster.workers[0].pid, signal.SIGKILL)
        events.append(committed())

    try:
        killer = threading.Thread(target=kill_worker, daemon=True)
        killer.start()
        first = kedro(remote, environment, *options)
        wait_until(lambda: committed() >= 24 or first.poll() is not None, "the run stands still")
        os.killpg(first.pid, signal.SIGKILL)
        killer.join(SECONDS)
        assert first.wait() == -signal.SIGKILL, (remote.path / "printed.txt").read_text()
        assert "01_raw/article_archive/_complete.json" in names(client, "root")
        assert "08_reporting/contamination/_complete.json" not in names(client, "root")
        assert events and events[0] >= 8
        assert kedro(remote, environment, *options).wait(SECONDS) == 0, (remote.path / "printed.txt").read_text()
    finally:
        cluster.stop()
    assert here.wait(SECONDS) == 0, (local.path / "printed.txt").read_text()

    wanted, found = compared(in_folder(local.path / "data")), compared(in_bucket(client, "root"))
    assert found.keys() == wanted.keys()
    assert {name for name in wanted if wanted[name] != found[name]} == set()


def names(client: Any, prefix: str) -> set[str]:
    pages = client.get_paginator("list_objects_v2").paginate(Bucket=BUCKET, Prefix=f"{prefix}/")
    return {entry["Key"].removeprefix(f"{prefix}/") for page in pages for entry in page.get("Contents", [])}
