"""Ingestion to serialization, run here with the project's own catalog: what benchmarks of stages have in common.

Articles are a few hundred drawn ones with small images, repeated under new ids where more are asked for: XML, images
and metadata are read, checked and written article by article, whether or not another has the same content.
"""

from __future__ import annotations

import importlib
import inspect
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import orjson
from kedro.config import OmegaConfigLoader
from kedro.framework.hooks.manager import _create_hook_manager
from kedro.io import DataCatalog
from kedro.pipeline import Pipeline
from kedro.runner import SequentialRunner

from biomedica_corpus.bucket import ArticleObjects, inventory_objects, md5_of, write_objects
from biomedica_corpus.options import CorpusOptions
from biomedica_corpus.plan import draw_article_ids, plan_corpus
from biomedica_corpus.render import render_article
from biomedica_kedro.hooks.places import PlaceHooks
from biomedica_kedro.pmc.mirror import MirrorSource
from biomedica_kedro.records import Options, Split
from biomedica_kedro.stages.node import BATCHES
from biomedica_kedro.stages.run import BatchOptions
from biomedica_kedro.stages.spread import client_for

CONF = Path(__file__).resolve().parents[1] / "conf"
PIPELINES = ("ingestion", "extraction", "serialization")
DRAWN = 200
IMAGE_SIZE = 64
BUCKET = "bucket"
_SECONDS_TO_START = 60


def write_articles(folder: Path, n_articles: int) -> None:
    """A mirror of PMC's bucket that holds `n_articles` articles of about 3.5 images each."""
    options = CorpusOptions(articles=max(4, min(n_articles, DRAWN)), held_out_articles=0, image_size=IMAGE_SIZE)
    drawn = [render_article(options, plan) for plan in plan_corpus(options)]
    ids = draw_article_ids(options.seed, [Split.TRAIN] * n_articles)
    inventory = []
    for number, article_id in enumerate(ids):
        article = _renamed(drawn[number % len(drawn)], article_id)
        write_objects(folder, article.served())
        inventory.append((f"metadata/{article_id}.json", "2026-11-01T00:00:00.000Z", md5_of(article.metadata_json())))
    write_objects(folder, inventory_objects(inventory))


def _renamed(article: ArticleObjects, article_id: str) -> ArticleObjects:
    """The article under another id: its number stands in the XML, the text and the metadata."""
    old, new = (one.partition(".")[0].removeprefix("PMC").encode() for one in (article.article_id, article_id))
    return replace(
        article, article_id=article_id, xml=article.xml.replace(old, new), text=article.text.replace(old, new),
        fields=orjson.loads(orjson.dumps(article.fields).replace(old, new)),
    )  # fmt: skip


def run_stages(articles: Path, root: str, batches: BatchOptions) -> Iterator[tuple[str, DataCatalog]]:
    """Run the pipelines one after the other, data below `root`; gives the name of each when it has ended."""
    loader = OmegaConfigLoader(
        conf_source=CONF, base_env="base", default_run_env="base", runtime_params={"data_root": root}
    )
    catalog = DataCatalog.from_config(loader["catalog"])
    catalog["article_source"] = MirrorSource(str(articles))
    hooks = _create_hook_manager()
    hooks.register(PlaceHooks())
    for name in PIPELINES:
        pipeline = importlib.import_module(f"biomedica_kedro.pipelines.{name}").create_pipeline()
        for parameter, value in _parameters(pipeline, loader["parameters"]).items():
            catalog[parameter] = value
        catalog[BATCHES] = batches
        SequentialRunner().run(pipeline, catalog, hooks)
        yield name, catalog


def _parameters(pipeline: Pipeline, given: dict[str, Any]) -> dict[str, Options]:
    """Options of the nodes, as Kedro makes them of conf's parameters."""
    found = {}
    for node in pipeline.nodes:
        hints = inspect.signature(node.func, eval_str=True).parameters.values()
        for name, hint in zip(node.inputs, hints, strict=True):
            if name.startswith("params:") and name != BATCHES:
                group, _, key = name.removeprefix("params:").partition(".")
                found[name] = hint.annotation(**given[group][key])
    return found


@dataclass(frozen=True, slots=True)
class Used:
    """CPU seconds and peak memory in bytes of this process, and of the workers together and the largest."""

    driver: float
    workers: float
    driver_peak: int
    worker_peak: int

    def since(self, before: Used) -> Used:
        """What was used after `before`; peaks are those of the whole life of a process."""
        return replace(self, driver=self.driver - before.driver, workers=self.workers - before.workers)

    @property
    def seconds(self) -> float:
        """CPU seconds of all."""
        return self.driver + self.workers


def used(workers: int) -> Used:
    """What this process and its workers have used until now."""
    here = _of_this_process()
    there: Sequence[tuple[float, int]] = [*client_for(workers, None).run(_of_this_process).values()] if workers else []
    return Used(here[0], sum(seconds for seconds, _ in there), here[1], max((peak for _, peak in there), default=0))


def _of_this_process() -> tuple[float, int]:
    return time.process_time(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


@contextmanager
def object_store() -> Iterator[str]:
    """S3 of moto's in a process of its own, named by the environment; gives the URL of an empty bucket."""
    import boto3

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    url = f"http://127.0.0.1:{port}"
    command = [str(Path(sys.executable).with_name("moto_server")), "-H", "127.0.0.1", "-p", str(port)]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_REGION": "us-east-1"}
    os.environ |= {**keys, "AWS_ENDPOINT_URL": url, "AWS_VIRTUAL_HOSTED_STYLE_REQUEST": "false"}
    try:
        _wait_for(port)
        client = boto3.client("s3", region_name="us-east-1")
        client.create_bucket(Bucket=BUCKET)
        yield f"s3://{BUCKET}"
    finally:
        server.kill()
        server.wait()


def _wait_for(port: int) -> None:
    deadline = time.monotonic() + _SECONDS_TO_START
    while time.monotonic() < deadline:
        with socket.socket() as probe:
            if probe.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise TimeoutError(f"moto does not answer on port {port} after {_SECONDS_TO_START} s")
