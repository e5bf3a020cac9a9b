"""The modeling pipeline on a corpus of coloured squares: learns, resumes, and does nothing the second time."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import orjson
import pyarrow.compute as pc
import pytest
import torch
from safetensors.torch import load_file

from biomedica_kedro.benchmark.monitor import MonitorOptions
from biomedica_kedro.benchmark.samples import SampleStore
from biomedica_kedro.clip.checkpoints import BaseModel
from biomedica_kedro.clip.config import CheckpointOptions, FeedOptions, OptimizerOptions, TrainOptions
from biomedica_kedro.clip.log import MemoryLog
from biomedica_kedro.clip.selection import SelectionOptions
from biomedica_kedro.pipelines.modeling.reports import plot_selection, plot_training
from tests.clip.small_corpus import small_corpus

__all__ = ["small_corpus"]

TINY = BaseModel("biomedica-tiny")
WAYS = ("image_to_text", "text_to_image")
OPTIONS = TrainOptions(
    steps=12,
    batch_size=16,
    threads=1,
    optimizer=OptimizerOptions(warmup_steps=2),
    feed=FeedOptions(cache=True),
    checkpoints=CheckpointOptions(every=4, validate_every=6),
)


@pytest.fixture
def trained(small_corpus, run_node, tmp_path):
    selected = run_node("select_training_samples", dataset_metadata=small_corpus.metadata_folder)
    chosen = {name: selected[name] for name in ("training_manifest", "training_sources")}
    log = MemoryLog()

    def train(options: TrainOptions = OPTIONS, log: MemoryLog = log, base: BaseModel = TINY, root: Path = tmp_path):
        return run_node(
            "train_clip", root, options={"train_clip": options}, training_log=log, **chosen,
            dataset_shards=small_corpus.shards, base_clip_model=base, article_source=SimpleNamespace(origin="packages"),
            benchmark_tasks={}, benchmark_samples=SampleStore(()),
        ), log  # fmt: skip

    return train


def test_training_learns_and_reports(trained):
    from biomedica_kedro.clip.checkpoints import load_model

    outputs, log = trained()
    history = outputs["training_history"].table()
    model, _, tokenizer = load_model(outputs["clip_checkpoint"])

    assert history["step"].to_pylist() == list(range(12))
    assert history["loss"][11].as_py() < history["loss"][0].as_py()
    assert log.status == "FINISHED" and len(log.metrics) == 12
    assert not model.training and tokenizer(["a red field"]).shape == (1, 77)
    assert len(plot_training(outputs["training_history"]).data) == 6


def test_threads_of_a_training_are_its_own(trained):
    """What runs after it in the same process sums in another order otherwise: its last bits differ."""
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    seen = []

    class Watching(MemoryLog):
        def log(self, *arguments, **options):
            seen.append(torch.get_num_threads())
            super().log(*arguments, **options)

    try:
        trained(OPTIONS.model_copy(update={"steps": 2, "threads": 2}), Watching())
        assert set(seen) == {2}
        assert torch.get_num_threads() == 3
    finally:
        torch.set_num_threads(before)


def test_mixture_with_the_base_that_retrieves_best_is_kept(trained, tmp_path):
    from biomedica_kedro.clip.checkpoints import load_model
    from biomedica_kedro.clip.config import WiseFtOptions

    # The base is a model that learned already; a ruinous learning rate unlearns it, so that the base is best.
    base_outputs, _ = trained(OPTIONS.model_copy(update={"steps": 40}))
    base = BaseModel("biomedica-tiny", str(base_outputs["clip_checkpoint"].file("all", ".safetensors")))
    ruinous = OptimizerOptions(learning_rate=0.3, warmup_steps=0)
    options = OPTIONS.model_copy(
        update={"steps": 4, "optimizer": ruinous, "wise_ft": WiseFtOptions(alphas=[0.0, 0.5, 1.0])}
    )
    outputs, log = trained(options, MemoryLog(), base, tmp_path / "mixed")
    checkpoint = outputs["clip_checkpoint"]

    record = orjson.loads(checkpoint.file("all", ".json").read_bytes())["provenance"]
    sweep = record["wise_ft"]["sweep"]
    recall = {alpha: sum(scores[f"validation/{way}_R_at_1"] for way in WAYS) for alpha, scores in sweep.items()}
    assert set(sweep) == {"0.0", "0.5", "1.0"}
    assert record["wise_ft"]["alpha"] == float(max(recall, key=lambda alpha: (recall[alpha], float(alpha))))
    assert (
        record["metrics"]["validation/image_to_text_R_at_1"]
        == sweep[str(record["wise_ft"]["alpha"])]["validation/image_to_text_R_at_1"]
    )
    assert recall["0.0"] > recall["1.0"]
    assert record["wise_ft"]["alpha"] == 0.0
    start, saved = load_model(base_outputs["clip_checkpoint"])[0], load_model(checkpoint)[0]
    assert torch.equal(start.text_projection, saved.text_projection)
    drawn = {step: values for step, values in log.metrics if "wise_ft/image_to_text_R_at_1" in values}
    assert drawn.keys() == {0, 50, 100} and (0, {"wise_ft/percent": 0}) in log.metrics
    assert log.artifacts[-2:] == ["all.safetensors", "all.json"]


def test_weights_of_the_best_validation_are_kept_beside_the_last(trained):
    outputs, _ = trained()
    history = outputs["training_history"].table().to_pylist()
    recall = {
        row["step"]: sum(row[f"validation/{way}_R_at_1"] for way in WAYS)
        for row in history if row["validation/image_to_text_R_at_1"] is not None
    }  # fmt: skip
    record = orjson.loads(outputs["clip_checkpoint"].file("all", ".json").read_bytes())["provenance"]
    best, last = (
        load_file(outputs["clip_checkpoint"].file("all", end)) for end in (".best.safetensors", ".safetensors")
    )
    assert set(recall) == {5, 11}
    assert record["best_step"] == max(recall, key=lambda step: (recall[step], -step))
    same = torch.equal(best["text_projection"], last["text_projection"])
    assert same == (record["best_step"] == 11)


def test_second_training_leaves_the_model_of_the_first_as_it_is(trained, tmp_path):
    first = trained()[0]["clip_checkpoint"].path
    folder = (first / "latest").resolve()
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    assert before["all.safetensors"] == (first / "all.safetensors").read_bytes()
    trained(OPTIONS.model_copy(update={"steps": 4}), MemoryLog())
    second = (first / "latest").resolve()
    assert second != folder and second.parent == folder.parent
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert (second / "all.safetensors").samefile(first / "all.safetensors")


def test_training_asked_for_again_after_another_is_not_repeated(trained):
    first = trained()[0]
    history, weights = first["training_history"].table(), first["clip_checkpoint"].path / "all.safetensors"
    before = weights.read_bytes()
    trained(OPTIONS.model_copy(update={"steps": 4}), MemoryLog())
    again = MemoryLog()
    outputs, _ = trained(OPTIONS, again)
    assert again.run is None
    assert outputs["training_history"].table() == history
    assert weights.read_bytes() == before


def test_model_card_tells_the_data_that_were_used(trained):
    outputs, log = trained()
    card = (outputs["clip_checkpoint"].path / "README.md").read_text()
    assert "on Figures of article packages." in card and "packages of articles in JATS" in card
    assert "selection `full`" in card and "| commercial | 48 |" in card
    assert "| activation | GELU |" in card and "license: apache-2.0" in card
    assert log.run.name == (outputs["clip_checkpoint"].path / "latest").resolve().name


def test_share_of_the_peak_is_logged(trained):
    _, log = trained()
    assert all(values["feed/flops_utilization"] > 0 for _, values in log.metrics)


def test_second_training_does_nothing(trained):
    trained()
    again = MemoryLog()
    trained(OPTIONS, again)
    assert again.run is None


def test_test_split_is_never_selected(small_corpus, run_node):
    outputs = run_node("select_training_samples", dataset_metadata=small_corpus.metadata_folder)
    splits = outputs["training_manifest"].table()["split"]
    assert set(splits.to_pylist()) == {"train", "validation"}
    assert pc.sum(outputs["training_counts"].table()["selected"]).as_py() == len(splits)


def test_what_is_not_selected_is_rejected_with_its_reason(small_corpus, run_node):
    made = run_node("select_training_samples", dataset_metadata=small_corpus.metadata_folder)
    manifest, metadata = made["training_manifest"], small_corpus.metadata_folder.table()
    assert manifest.table().num_rows + manifest.rejects().num_rows == metadata.num_rows
    n_held_out = pc.sum(pc.equal(metadata["split"], "test")).as_py()
    assert manifest.rejects()["reason"].to_pylist() == ["held_out"] * n_held_out


def test_selection_tells_what_each_context_length_cuts(small_corpus, run_node):
    options = SelectionOptions(context_lengths=[8, 77], captions_measured=10)
    outputs = run_node(
        "select_training_samples", options={"select_training_samples": options},
        dataset_metadata=small_corpus.metadata_folder,
    )  # fmt: skip
    short, long = outputs["caption_tokens"].table().to_pylist()
    assert (short["captions"], short["cut_captions"], short["empty_places"]) == (10, 1.0, 0.0)
    assert short["lost_tokens"] == pytest.approx(1 - 6 / short["mean_tokens"])
    assert long["lost_tokens"] == 0 and long["empty_places"] == pytest.approx(1 - (long["mean_tokens"] + 2) / 77)
    figure = plot_selection(outputs["training_counts"], outputs["caption_tokens"])
    assert sorted(figure.data[0].x) == ["blue", "green", "red", "white"]


def test_listing_the_pipelines_imports_neither_torch_nor_duckdb():
    code = (
        "import sys; import biomedica_kedro.pipelines.modeling; print({'torch', 'duckdb', 'mlflow'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.parametrize("environment", ["base", "pmc"])
def test_configured_recipes_and_options_are_valid(environment):
    from omegaconf import OmegaConf

    conf = Path(__file__).parents[2] / "conf"
    files = [conf / name / "parameters" / "modeling.yml" for name in dict.fromkeys(["base", environment])]
    merged = OmegaConf.to_container(OmegaConf.merge(*map(OmegaConf.load, files)))["modeling"]
    assert set(merged) == {
        "select_training_samples", "train_clip", "score_in_training", "find_mismatches", "embed_archive",
        "index_archive",
    }  # fmt: skip
    assert MonitorOptions(**merged["score_in_training"]).tasks
    assert {"full", "concept_filtered", "concept_balanced"} <= set(
        SelectionOptions(**merged["select_training_samples"]).recipes
    )
    options = TrainOptions(**merged["train_clip"])
    paper = options.steps * options.batch_size / 216e6
    assert environment == "base" or paper == pytest.approx(1, rel=1e-3)


def test_estimate_tells_hours_and_trains_nothing(trained):
    from biomedica_kedro.stages.spread import TaskError

    log = MemoryLog()
    with pytest.raises(
        TaskError, match=r"192 samples seen \(4\.0 epochs\).*hours, price not asked.*Nothing was trained"
    ):
        trained(OPTIONS.model_copy(update={"estimate_only": True}), log)
    assert log.run is None
