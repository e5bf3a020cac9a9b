from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from biomedica_kedro.benchmark.task import Task, TaskFileError, find_task, load_tasks, read_task

GOOD = {
    "id": "spots", "title": "Spots", "domain": "dermatology", "modality": "dermoscopy", "kind": "binary",
    "wording": "reconstructed", "classes": [{"name": "mole"}, {"name": "melanoma"}],
    "source": {"url": "https://example.org", "license": "CC0", "access": "open"},
}  # fmt: skip


def _write(tmp_path: Path, **changes: object) -> Path:
    path = tmp_path / "spots.yml"
    path.write_text(yaml.safe_dump({**GOOD, **changes}))
    return path


def test_user_task_joins_those_of_the_package(tmp_path: Path) -> None:
    tasks = load_tasks([_write(tmp_path)])
    assert tasks["spots"].chance == 0.5
    assert {"embedded_figure_type", "embedded_retrieval"} <= tasks.keys()


def test_misspelled_key_names_file_and_close_match(tmp_path: Path) -> None:
    path = _write(tmp_path, modalty="dermoscopy")
    with pytest.raises(TaskFileError, match=r"spots\.yml.*'modalty'.*'modality'"):
        read_task(path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"classes": [{"name": "mole"}, {"name": "mole"}]}, "occur twice"),
        ({"classes": [{"name": "mole"}, {"name": "nevus", "text": "mole"}]}, "same words"),
        ({"classes": [{"name": "mole"}]}, "a binary task has two"),
        ({"kind": "multiclass", "classes": [{"name": "mole"}]}, "single option"),
        ({"kind": "multiclass", "classes": []}, "needs them"),
        ({"id": "other"}, "must be the file's name"),
        ({"templates": {"paper": ["no slot"]}}, r"templates.paper"),
        ({"kind": "regression"}, "kind"),
        ({"source": {"url": "u", "access": "open"}}, "license"),
        ({"loader": {"kind": "npy", "file": "x"}}, "loader"),
    ],
    ids=lambda value: str(value)[:30],
)
def test_wrong_task_file_says_what_is_wrong(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    with pytest.raises(TaskFileError, match=message):
        read_task(_write(tmp_path, **changes))


def test_key_given_twice_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "spots.yml"
    path.write_text(yaml.safe_dump(GOOD) + "title: Again\n")
    with pytest.raises(TaskFileError, match="given twice"):
        read_task(path)


def test_taken_id_names_the_other_file(tmp_path: Path) -> None:
    path = tmp_path / "embedded_concept.yml"
    path.write_text(yaml.safe_dump({**GOOD, "id": "embedded_concept"}))
    with pytest.raises(TaskFileError, match="is taken by"):
        load_tasks([path])


def test_absent_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(TaskFileError, match="no such task file"):
        load_tasks([tmp_path / "absent"])


def test_unknown_task_suggests_a_close_match() -> None:
    with pytest.raises(TaskFileError, match="did you mean 'embedded_concept'"):
        find_task(load_tasks(), "embedded_concepts")


def test_labels_are_found_by_any_spelling() -> None:
    task = Task(
        **{**GOOD, "classes": [{"name": "nv", "text": "melanocytic nevus", "synonyms": ["NV!"]}, {"name": "mel"}]}
    )
    assert [task.label_index()[name] for name in ("nv", "melanocytic nevus", "nv!", "mel")] == [0, 0, 0, 1]
