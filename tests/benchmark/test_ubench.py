"""u-Bench as released: options of each row in every wording, nulls, repeated images; read once for all its tasks."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from biomedica_corpus.synthetic_benchmark.released import ubench
from biomedica_kedro.benchmark.classification import classification_rows
from biomedica_kedro.benchmark.embeddings import TaskEmbeddings
from biomedica_kedro.benchmark.encode import AskedTasks, EmbedOptions, embed_task, embed_tasks
from biomedica_kedro.benchmark.loaders import columns
from biomedica_kedro.benchmark.loaders.rows import LoaderError
from biomedica_kedro.benchmark.prepare import prepare_task, prepare_together, validate_images, validate_task
from biomedica_kedro.benchmark.probes import ProbeOptions, probe_rows
from biomedica_kedro.benchmark.samples import SampleStore, TaskSamples
from biomedica_kedro.benchmark.scores import Protocol, ScoreOptions, Subject
from biomedica_kedro.benchmark.task import Access, Kind, load_tasks
from tests.benchmark.samples_factory import ColorEncoder
from tests.benchmark.test_encode import CountingEncoder

TASKS = load_tasks()
UBENCH = {name: task for name, task in TASKS.items() if name.startswith("ubench_")}
ASKED = {
    name: task for name, task in UBENCH.items()
    if task.source.access is not Access.UNRELEASED and "opencell" not in name and "sirinukunwattana" not in name
}  # fmt: skip
OPTIONS = ScoreOptions(n_resamples=100, n_resamples_ranked=50)


def _subject(task_id: str) -> Subject:
    return Subject(model_id="m", task=task_id, domain="d", synthetic=False, dataset_digest="d", seed=0)


@pytest.fixture(scope="module")
def released() -> list[dict]:
    return ubench.ubench_rows()


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory, released: list[dict]):
    """All tasks of u-Bench, prepared in one pass: the folder of samples and the report of each task."""
    root = tmp_path_factory.mktemp("ubench")
    source = ubench.write_arrow(root / "distributed", released)
    reports = prepare_together(list(UBENCH.values()), source, root / "samples", name="ubench")
    return root / "samples", {report.task_id: report for report in reports}


def _embedded(samples: Path, task_id: str) -> TaskEmbeddings:
    embedded, rejects = embed_task(UBENCH[task_id], TaskSamples(samples / task_id), ColorEncoder())
    assert rejects == []
    return embedded


def test_every_released_task_has_its_rows_and_no_other(prepared) -> None:
    _, reports = prepared
    of_datasets = {
        name: len(ubench.LABELS[_dataset(name)]) * ubench.PER_LABEL
        for name in ASKED
        if UBENCH[name].loader.question == "classification"
    }
    assert {name: reports[name].n_rows for name in of_datasets} == of_datasets
    assert all(reports[name].rejects == [] for name in of_datasets)


def _dataset(task_id: str) -> str:
    where = UBENCH[task_id].loader.where
    if where["dataset"] is not None:
        return where["dataset"]
    return next(name for name, stain in ubench.HELD_STAINS.items() if stain == where["stain"])


@pytest.mark.parametrize("task_id", sorted(ASKED))
def test_task_validates_and_scores_in_both_wordings(task_id: str, prepared) -> None:
    samples, reports = prepared
    problems = [problem for problem in reports[task_id].problems if "were published" not in problem]
    assert problems == []
    rows, predictions = classification_rows(UBENCH[task_id], _embedded(samples, task_id), _subject(task_id), OPTIONS)
    accuracy = {
        row["prompt_set"]: row["value"]
        for row in rows
        if (row["metric"], row["protocol"]) == ("accuracy", Protocol.ZERO_SHOT)
    }
    assert set(accuracy) == {"", "captions_0", "captions_1", "questions"}
    assert accuracy[""] == pytest.approx((accuracy["captions_0"] + accuracy["captions_1"]) / 2)
    assert Counter(row["prompt_set"] for row in predictions) == dict.fromkeys(accuracy, reports[task_id].n_rows)


def test_arrow_and_parquet_give_the_same_samples(tmp_path: Path, released: list[dict]) -> None:
    task = UBENCH["ubench_hussain_2019"]
    sources = {
        "arrow": ubench.write_arrow(tmp_path / "a", released), "parquet": ubench.write_parquet(tmp_path / "p", released)
    }  # fmt: skip
    for name, source in sources.items():
        assert prepare_task(task, source, tmp_path / name).n_rows == 8
    tables = [pq.read_table(tmp_path / name / task.id / "rows.parquet") for name in ("arrow", "parquet")]
    assert tables[0].equals(tables[1])


def test_question_that_does_not_apply_is_counted_not_scored(prepared, released: list[dict]) -> None:
    samples, reports = prepared
    not_asked = sum(row["dataset"] == "nirschl_unpub_fluorescence" for row in released)
    report = reports["ubench_stain"]
    assert Counter(reject.reason for reject in report.rejects) == {"no_question": not_asked}
    assert report.n_rows + not_asked == len(released)
    assert TaskSamples(samples / "ubench_stain").n_published() == len(released)


def test_struct_of_nulls_is_no_question(tmp_path: Path, released: list[dict]) -> None:
    row = next(row for row in released if row["dataset"] == "wu_et_al_2023")
    nulls = dict.fromkeys(("id", "name", "question", "options", "answer", "answer_idx"))
    captions = {**row["captions"], "stain_0": nulls, "stain_1": {**nulls, "options": []}}
    source = ubench.write_arrow(tmp_path / "d", [{**row, "captions": captions}], files=1)
    report = prepare_task(UBENCH["ubench_stain"], source, tmp_path / "s")
    assert [reject.reason for reject in report.rejects] == ["no_question"]


def test_image_in_two_data_sets_counts_twice_and_is_one_group(prepared, released: list[dict]) -> None:
    samples, reports = prepared
    assert reports["ubench_domain"].n_rows == len(released)
    groups = Counter(_embedded(samples, "ubench_domain").groups.tolist())
    assert [group for group, number in groups.items() if number > 1] == [ubench.IN_BOTH_BURGESS]


def test_parts_of_held_are_told_by_their_stain(prepared) -> None:
    samples, reports = prepared
    names = {
        name
        for rows in TaskSamples(samples / "ubench_held_2010_galt").rows()
        for row in rows
        for name in [row["label_name"]]
    }
    assert names == set(ubench.LABELS["held_galt"])
    assert reports["ubench_held_2010_h2b"].n_rows == ubench.PER_LABEL * len(ubench.LABELS["held_h2b"])


def test_task_that_was_not_released_says_so(prepared) -> None:
    assert prepared[1]["ubench_held_2010_mt"].problems[0] == "no sample: this task's data were not released"


def test_single_options_and_absent_questions_leave_a_task_without_score(prepared) -> None:
    _, reports = prepared
    assert {reject.reason for reject in reports["ubench_opencell"].rejects} == {"no_question"}
    single = reports["ubench_sirinukunwattana_2016"]
    assert {reject.detail for reject in single.rejects} == {
        "captions 0: 1 options: with fewer than two every answer is right"
    }
    assert single.n_rows == 0


def test_two_classes_of_wu_are_a_task_that_counts(prepared) -> None:
    assert prepared[1]["ubench_wu_2023"].n_rows == 4
    assert not UBENCH["ubench_wu_2023"].excluded_from_averages
    assert "paper40" in UBENCH["ubench_wu_2023"].counts_for


def test_position_that_contradicts_the_answer_is_a_reject(tmp_path: Path, released: list[dict]) -> None:
    row = next(row for row in released if row["dataset"] == "wu_et_al_2023")
    wrong = {**row["captions"]["classification_0"]}
    wrong["answer_idx"] = 1 - wrong["answer_idx"]
    rows = [{**row, "captions": {**row["captions"], "classification_0": wrong}}]
    report = prepare_task(UBENCH["ubench_wu_2023"], ubench.write_arrow(tmp_path / "d", rows, files=1), tmp_path / "s")
    assert [(reject.reason, reject.detail[:10]) for reject in report.rejects] == [("invalid_task_row", "captions 0")]


def test_files_are_read_once_for_all_tasks(tmp_path: Path, released: list[dict], monkeypatch) -> None:
    opened: Counter[str] = Counter()
    read = columns._rows
    monkeypatch.setattr(columns, "_rows", lambda path, options: opened.update([path.name]) or read(path, options))
    prepare_together(list(UBENCH.values()), ubench.write_arrow(tmp_path / "d", released), tmp_path / "s", name="ubench")
    assert set(opened.values()) == {1}
    assert len(opened) == 2


def test_image_is_kept_once_though_it_serves_several_tasks(prepared, released: list[dict]) -> None:
    samples, _ = prepared
    images = TaskSamples(samples / "ubench_domain").image_set
    assert images == TaskSamples(samples / "ubench_wu_2023").image_set
    assert images.n_rows() == len({row["image"]["bytes"] for row in released})
    kept = {row["sample_id"]: row["image"] for rows in TaskSamples(samples / "ubench_wu_2023").rows() for row in rows}
    wanted = {
        f"wu_et_al_2023/{row['image_id']}": row["image"]["bytes"]
        for row in released
        if row["dataset"] == "wu_et_al_2023"
    }
    assert kept == wanted
    assert "ubench" not in SampleStore((samples,)).task_ids()


def test_tasks_embedded_together_open_each_image_once_and_get_the_vectors_of_each_alone(prepared) -> None:
    samples, _ = prepared
    asked = {name: (UBENCH[name], TaskSamples(samples / name)) for name in ("ubench_stain", "ubench_acevedo_2020")}
    encoder = CountingEncoder()

    def keep(function, items, *, source):
        return [function(item) for item in items]

    together = embed_tasks(AskedTasks(asked), encoder, EmbedOptions(batch_size=16), keep)
    assert encoder.n_images == asked["ubench_stain"][1].image_set.n_rows() + 1, "and the blank image"
    for name, (task, own) in asked.items():
        shared, (alone, rejects) = together.of(name), embed_task(task, own, ColorEncoder())
        assert rejects == []
        assert (shared.sample_ids, shared.questions, shared.hashes) == (alone.sample_ids, alone.questions, alone.hashes)
        assert np.allclose(shared.images, alone.images, atol=1e-6)
        assert shared.texts.keys() > alone.texts.keys()


def test_image_that_cannot_be_opened_is_a_reject_of_each_of_its_tasks(tmp_path: Path, released: list[dict]) -> None:
    rows = [dict(row) for row in released if row["dataset"] == "wu_et_al_2023"]
    rows[1]["image"] = {"bytes": b"no image", "path": None}
    rows[2]["image"] = {"bytes": None, "path": "x.png"}
    tasks = [UBENCH["ubench_wu_2023"], UBENCH["ubench_domain"]]
    for report in prepare_together(tasks, ubench.write_arrow(tmp_path / "d", rows, files=1), tmp_path / "s", name="u"):
        assert [reject.reason for reject in report.rejects] == ["not_an_image", "missing_file"]
        assert report.n_rows == 2


def test_image_set_that_lost_an_image_is_found(tmp_path: Path, released: list[dict]) -> None:
    rows = [row for row in released if row["dataset"] == "wu_et_al_2023"]
    task = UBENCH["ubench_wu_2023"]
    prepare_together([task], ubench.write_arrow(tmp_path / "d", rows, files=1), tmp_path / "s", name="u")
    samples = TaskSamples(tmp_path / "s" / task.id)
    assert validate_images(samples) == []
    table = pq.read_table(samples.image_set.path)
    pq.write_table(table.slice(0, 3), samples.image_set.path)
    assert validate_task(task, samples) == ["1 rows: missing_file: its image set does not hold the row's image"]
    assert [reject.reason for reject in embed_task(task, samples, ColorEncoder())[1]] == ["missing_file"]


def test_image_set_that_is_gone_rejects_every_row(tmp_path: Path, released: list[dict]) -> None:
    rows = [row for row in released if row["dataset"] == "wu_et_al_2023"]
    task = UBENCH["ubench_wu_2023"]
    prepare_together([task], ubench.write_arrow(tmp_path / "d", rows), tmp_path / "s", name="u", split="train")
    samples = TaskSamples(tmp_path / "s" / task.id)
    assert {row["split"] for rows in samples.rows() for row in rows} == {"train"}
    samples.image_set.path.unlink()
    assert validate_task(task, samples) == ["4 rows: missing_file: its image set does not hold the row's image"]
    assert [reject.reason for reject in embed_task(task, samples, ColorEncoder())[1]] == ["missing_file"] * 4


def test_tasks_prepared_with_others_keep_their_images(tmp_path: Path, released: list[dict]) -> None:
    source = ubench.write_arrow(tmp_path / "d", released)
    wu, stain, domain = (UBENCH[f"ubench_{name}"] for name in ("wu_2023", "stain", "domain"))
    prepare_together([wu, stain], source, tmp_path / "s", name="u")
    prepare_together([stain, domain], source, tmp_path / "s", name="u")
    places = {task.id: TaskSamples(tmp_path / "s" / task.id).image_set.path.parent.name for task in (wu, stain, domain)}
    assert places[wu.id] != places[stain.id] == places[domain.id]
    assert validate_task(wu, TaskSamples(tmp_path / "s" / wu.id)) == []
    prepare_together([wu, stain, domain], source, tmp_path / "s", name="u")
    assert len(list((tmp_path / "s").glob("u-*"))) == 1, "sets that no task names are removed"


def test_probes_take_their_classes_from_the_rows(prepared) -> None:
    samples, _ = prepared
    rows = probe_rows(
        UBENCH["ubench_acevedo_2020"], _embedded(samples, "ubench_acevedo_2020"), _subject("ubench_acevedo_2020"),
        ProbeOptions(penalties=(0.1,), shots=(1,), repeats=2, n_resamples=100, n_resamples_ranked=50),
    )  # fmt: skip
    assert {row["detail"] for row in rows if row["metric"] == "recall"} == set(ubench.LABELS["acevedo_et_al_2020"])
    composition = probe_rows(
        UBENCH["ubench_stain"], _embedded(samples, "ubench_stain"), _subject("ubench_stain"), ProbeOptions()
    )
    assert composition == []


def test_task_files_list_no_classes_of_their_own() -> None:
    assert {(task.kind, task.classes) for task in UBENCH.values()} == {(Kind.CLOSED_VQA, ())}
    assert all("2407.01791" in task.source.citation for task in UBENCH.values())


def test_other_folder_says_what_is_missing(tmp_path: Path) -> None:
    (tmp_path / "README.md").write_text("u-Bench")
    with pytest.raises(LoaderError, match=r"no \.parquet or \.arrow file"):
        prepare_task(UBENCH["ubench_stain"], tmp_path, tmp_path / "s")


def test_hidden_folder_of_copies_is_left_out_and_told(tmp_path: Path, released: list[dict]) -> None:
    rows = [row for row in released if row["dataset"] == "wu_et_al_2023"]
    source = ubench.write_arrow(tmp_path / "d", rows, files=1)
    ubench.write_arrow(source / ".ipynb_checkpoints", rows, files=1)
    report = prepare_task(UBENCH["ubench_wu_2023"], source, tmp_path / "s")
    assert report.n_rows == 4
    assert [(reject.source, reject.reason) for reject in report.rejects] == [(".ipynb_checkpoints", "not_a_class")]
