"""Training on shards that somebody else published: no table of ours, nothing on the disk, all of it told."""

from __future__ import annotations

import http.server
import threading
from types import SimpleNamespace

import orjson
import pytest
from kedro.io import DataCatalog, MemoryDataset

from biomedica_kedro.benchmark.samples import SampleStore
from biomedica_kedro.clip.card import model_card
from biomedica_kedro.clip.config import CheckpointOptions, OptimizerOptions, TrainOptions
from biomedica_kedro.clip.log import MemoryLog
from biomedica_kedro.clip.selection import Recipe, SelectionError, SelectionOptions
from biomedica_kedro.clip.stream_selection import as_selected
from biomedica_kedro.datasets.batches import BatchDataset
from biomedica_kedro.hooks.inputs import InputHooks, MissingDataError
from biomedica_kedro.pipelines.modeling import create_pipeline
from biomedica_kedro.pipelines.modeling.reports import plot_selection
from biomedica_kedro.shards.sources import Source, StreamOptions
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.spread import TaskError
from tests.clip.small_corpus import small_vit
from tests.shards.published_layout import LABELS, shards

N_SAMPLES, HELD = 192, "md5_number_lower(article_accession_id) % 4 = 0"


@pytest.fixture(scope="module")
def address():
    """Three shards in the published layout, in the memory of a server."""
    answers = {f"/{name}": content for name, content in shards(N_SAMPLES, 64, side=40)}

    class Handler(http.server.BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            content = answers[self.path.partition("?")[0]]
            self.send_response(200)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/{{000000..000002}}.tar?token=hidden"
    server.shutdown()
    server.server_close()


def options_of(url: str) -> TrainOptions:
    """Six steps of 16 samples."""
    return TrainOptions(
        steps=6, batch_size=16, threads=1,
        optimizer=OptimizerOptions(warmup_steps=1),
        checkpoints=CheckpointOptions(every=3, validate_every=3, validation_samples=16),
        stream=StreamOptions(
            lanes=4, window=8,
            sources=[Source(url=url, where=f"NOT {HELD}", storage={"headers": {"Authorization": "hidden"}})],
            validation=Source(url=url, where=HELD),
        ),
    )  # fmt: skip


RECIPE = SelectionOptions(
    recipe="own", recipes={"own": Recipe(concepts=list(LABELS[:2]), license_groups=["commercial"], temperature=0)}
)


@pytest.fixture(scope="module")
def selected(address, tmp_path_factory):
    from tests.engine import run_node

    root = tmp_path_factory.mktemp("selected")
    return run_node(
        "select_training_samples", root, dataset_metadata=BatchFolder(root / "none"),
        options={"select_training_samples": RECIPE, "stream": options_of(address).stream},
    )  # fmt: skip


def test_selection_tells_what_will_be_streamed_instead_of_listing_it(selected):
    training, held = selected["training_sources"].table().to_pylist()
    assert selected["training_manifest"].table().num_rows == 0
    assert (training["split"], training["shards"], training["share_of_batch"]) == ("train", 3, 1.0)
    assert "list_contains(['Microscopy', 'Plots and Charts']" in training["where"]
    assert (training["balance"], held["balance"]) == (0, 1)
    assert training["looked_at"] == training["taken"] + training["left_out"] + training["rejected"] == 96
    assert min(training["taken"], training["left_out"], training["rejected"], held["taken"]) > 0
    counts = selected["training_counts"].table().to_pylist()
    told = {row["concept"].rpartition(": ")[2]: row for row in counts if row["split"] == "train"}
    assert told["Clinical Imaging"]["selected"] == 0 < told["Clinical Imaging"]["available"]
    assert told["Microscopy"]["draws_per_epoch"] < told["Microscopy"]["selected"]
    assert sum(row["selected"] for row in counts if row["split"] == "train") == training["taken"]
    assert len(plot_selection(selected["training_counts"], selected["caption_tokens"]).data) > 0


def test_training_streams_what_was_selected_and_says_so(selected, address, run_node, tmp_path):
    log = MemoryLog()
    outputs = run_node(
        "train_clip", options={"train_clip": options_of(address)}, training_log=log,
        training_manifest=selected["training_manifest"], training_sources=selected["training_sources"],
        dataset_shards=BatchFolder(tmp_path / "none"), base_clip_model=small_vit(tmp_path),
        article_source=SimpleNamespace(origin="packages"), benchmark_tasks={}, benchmark_samples=SampleStore(()),
    )  # fmt: skip
    last = log.metrics[-1][1]
    assert next(value for name, value in last.items() if name.startswith("feed/seen/")) == 6 * 16
    assert min(last["feed/left_out"], last["feed/rejected"], last["feed/wait_fraction"]) > 0
    assert (log.run.data_name, log.run.data_digest) == ("training_sources", selected["training_sources"].digest())
    assert "list_contains(['Microscopy', 'Plots and Charts']" in log.run.parameters["source.0"]
    record = orjson.loads(outputs["clip_checkpoint"].file("all", ".json").read_bytes())
    card = model_card(record)
    assert "96 samples, streamed" in card and "3 shards, caption from 'txt'" in card
    assert "hidden" not in f"{log.run} {record} {card} {selected['training_sources'].table().to_pylist()}"
    assert not [path for path in tmp_path.rglob("*") if path.suffix == ".tar"]


def test_sources_of_another_selection_are_refused(selected):
    other = options_of("https://example.org/other.tar").stream
    with pytest.raises(SelectionError, match="run select_training_samples again"):
        as_selected(other, selected["training_sources"].table())


def test_recipe_that_needs_a_table_is_refused_before_anything_is_read(run_node, tmp_path):
    capped = SelectionOptions(recipe="own", recipes={"own": Recipe(cap=3)})
    with pytest.raises(TaskError, match="cap 3 needs a metadata table"):
        run_node(
            "select_training_samples", dataset_metadata=BatchFolder(tmp_path / "none"),
            options={"select_training_samples": capped, "stream": options_of("http://127.0.0.1:9/x.tar").stream},
        )  # fmt: skip


@pytest.mark.parametrize("sources", [[], ["https://example.org/x.tar"]], ids=["ours", "streamed"])
def test_our_data_sets_are_needed_only_where_nothing_is_streamed(sources, tmp_path):
    names = ["dataset_metadata", "dataset_shards"]
    catalog = DataCatalog({name: BatchDataset(filepath=str(tmp_path / name)) for name in names})
    catalog["params:modeling.train_clip.stream.sources"] = MemoryDataset(sources)
    pipeline = create_pipeline()
    if sources:
        InputHooks().before_pipeline_run({}, pipeline, catalog)
    else:
        with pytest.raises(MissingDataError, match="dataset_metadata, dataset_shards are not there yet"):
            InputHooks().before_pipeline_run({}, pipeline, catalog)
