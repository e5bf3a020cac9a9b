"""What a newcomer gets from `make run`, and what a second run does."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
from pathlib import Path

import duckdb
import pyarrow.parquet as pq
import pytest

from biomedica_kedro.stages import BatchFolder

PROJECT = Path(__file__).resolve().parents[2]
STAGES = ["ingestion", "extraction", "annotation", "serialization", "modeling", "evaluation"]


def folder(project, name: str) -> BatchFolder:
    return BatchFolder(next(project.path.glob(f"data/0*/{name}")))


def test_console_has_a_line_a_stage_and_no_noise(finished):
    _, printed = finished
    assert re.search(r"parse_articles +\d+\.\d s +[\d,]+ articles, [\d,]+ figures", printed)
    assert re.search(r"train_clip +\d+\.\d s", printed)
    assert "http://127.0.0.1:5001/#/experiments/2/runs" in printed
    assert "Warning" not in printed
    assert "Traceback" not in printed


def test_every_article_is_selected_or_counted_and_every_figure_paired_or_rejected(finished):
    project, _ = finished
    archived = set(
        folder(project, "article_archive")
        .table(columns=["article_id", "kind"])
        .to_pandas()
        .query("kind == 'xml'")
        .article_id
    )
    parsed = folder(project, "articles").table()["article_id"].to_pylist()
    rejected = folder(project, "articles").rejects()["source"].to_pylist()
    assert sorted(archived) == sorted([*parsed, *rejected])
    assert len(parsed) >= 390


def test_reasons_of_every_stage_are_documented_for_it(finished):
    project, _ = finished
    asked = f"select distinct stage, reason from read_parquet('{project.path}/data/*/*/_rejects/*.parquet')"
    found = set(duckdb.sql(asked).fetchall())
    lines = (PROJECT / "docs" / "rejects.md").read_text().splitlines()
    rows = [line.replace("`", "").strip("| ").split(" | ") for line in lines if line.startswith("| `")]
    told = {(stage, reason) for reason, stages, *_ in rows for stage in stages.split(", ")}
    assert found
    assert found - told == set()


def test_one_page_tells_what_the_run_came_to(finished):
    project, printed = finished
    page = (project.path / "data/08_reporting/report.html").read_text()
    assert "image-caption pairs" in page and "biomedica-clip" in page
    assert page.count("data:image/jpeg;base64,") == 3
    assert not printed or "data/08_reporting/report.html" in printed
    assert list(project.path.glob("data/mlartifacts/**/report.html"))


def test_trained_model_has_learned(finished):
    """A loose floor for a noisy machine; benchmarks/embedded_result.py measures the real figure."""
    project, _ = finished
    trained = "model_id == 'biomedica-clip'"
    scores = folder(project, "benchmark_scores").to_pandas().query(trained)
    of_types = scores.query("task == 'embedded_figure_type' and protocol == 'zero_shot'")
    recall = of_types.query("metric == 'median_class_recall'").value.item()
    first = scores.query("metric == 'i2t_exact_pair_R_at_1'").value.item()
    assert recall >= 0.5
    assert first >= 0.02


def test_second_run_has_nothing_to_do_and_leaves_no_record(finished, copy):
    again = type(finished[0])(copy)
    runs = "select count(*) from runs"
    before = sqlite3.connect(again.path / "data" / "mlflow.db").execute(runs).fetchone()
    done = again.kedro("run")
    assert re.search(r"\d+ stages and reports, all up to date", done.stdout)
    assert sqlite3.connect(again.path / "data" / "mlflow.db").execute(runs).fetchone() == before


def test_mlflow_holds_the_pipeline_run_the_training_and_the_benchmark(finished):
    project, _ = finished
    database = sqlite3.connect(project.path / "data" / "mlflow.db")
    names = dict(
        database.execute(
            "select experiments.name, count(*) from experiments join runs using (experiment_id) group by 1"
        )
    )
    assert names == {"biomedica": 1, "biomedica/train": 1, "biomedica/benchmark": names["biomedica/benchmark"]}
    assert names["biomedica/benchmark"] >= 1
    steps = database.execute("select count(distinct step) from metrics where key like '%loss%'").fetchone()[0]
    assert steps > 10, "a loss curve"
    tags = {key for (key,) in database.execute("select distinct key from tags")}
    assert {"biomedica.command", "biomedica.lock_sha256"} <= tags
    assert len(tags) < 30
    logged = [json.loads(file.read_text()) for file in (project.path / "data" / "mlartifacts").rglob("digests.json")]
    pairs = folder(project, "image_caption_pairs").digest()
    assert [digests["image_caption_pairs"] for digests in logged if "selected_articles" in digests] == [pairs]


@pytest.mark.parametrize("stage", STAGES)
def test_each_pipeline_runs_alone(finished, copy, stage):
    done = type(finished[0])(copy).kedro("run", f"--pipeline={stage}")
    assert "all up to date" in done.stdout


def test_failed_stage_says_which_item_why_and_how_to_resume(finished, tmp_path):
    project, _ = finished
    broken = type(project)(tmp_path / "broken")
    shutil.copytree(project.path, broken.path, symlinks=True)
    shard = next(Path(broken.path).glob("data/05_model_input/dataset_metadata/*.parquet"))
    columns = pq.read_table(shard).drop_columns(["split"])
    pq.write_table(columns, shard)
    done = broken.kedro("run", "--from-nodes=modeling.select_training_samples", check=False)
    assert done.returncode == 1
    assert "stage modeling.select_training_samples failed" in done.stderr
    assert "kedro run --from-nodes=modeling.select_training_samples" in done.stderr
    assert "Traceback" not in done.stderr


def test_misspelt_parameter_is_refused_before_anything_runs(project):
    done = project.kedro("run", "--params=modeling.train_clip.stepz=3", check=False)
    assert done.returncode == 1
    assert "unknown parameter 'stepz': did you mean 'steps'?" in done.stderr
    assert not list(project.path.glob("data/01_raw/corpus"))


def test_nothing_of_the_run_is_missing_in_mlflow(finished):
    _, printed = finished
    assert "not recorded in MLflow" not in printed
