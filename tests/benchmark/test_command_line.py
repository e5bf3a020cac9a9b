"""The command line from downloads to a comparison of two sources, as a user types it."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from biomedica_corpus.synthetic_benchmark.released import arrays, folders, ubench
from biomedica_corpus.synthetic_benchmark.released.tiles import encoded, tile
from biomedica_kedro.benchmark.__main__ import main
from biomedica_kedro.stages.files import write_json
from tests.benchmark.evaluation_set_factory import evaluation_row, write_evaluation_set
from tests.benchmark.test_released import TASKS


@pytest.fixture
def downloads(tmp_path: Path) -> Path:
    """u-Bench and PatchCamelyon as `fetch` leaves them, CheXpert as a user puts it there."""
    folder = tmp_path / "downloads"
    ubench.write_arrow(folder / "ubench", ubench.ubench_rows())
    for name, write in (("pcam", arrays.write_pcam), ("chexpert", folders.write_chexpert)):
        (folder / name).mkdir()
        write(TASKS[name], folder / name, 2)
    for name in ("ubench", "pcam"):
        write_json(folder / name / "fetched.json", {"files": {}})
    return folder


def test_list_has_a_heading_and_says_what_is_here(downloads: Path, tmp_path: Path, capsys) -> None:
    target = tmp_path / "prepared"
    assert main(["prepare", "ubench_wu_2023", "--folder", str(downloads), "--target", str(target)]) == 0
    capsys.readouterr()
    assert main(["list", "--folder", str(downloads), "--target", str(target)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].split() == ["task", "domain", "kind", "data", "access", "license", "url"]
    data = {line.split()[0]: line[lines[0].index("data") : lines[0].index("access")].strip() for line in lines[1:]}
    assert len(data) == len(TASKS)
    assert (data["ubench_wu_2023"], data["ubench_stain"], data["pcam"], data["chexpert"]) == (
        "4 samples", "fetched, not prepared", "fetched, not prepared", "fetched, not prepared",
    )  # fmt: skip
    assert (data["pathmnist"], data["ubench_held_2010_mt"], data["embedded_concept"]) == (
        "-", "not released", "with the corpus",
    )  # fmt: skip


def test_data_sets_are_prepared_whole_and_tasks_alone(downloads: Path, tmp_path: Path, capsys) -> None:
    target = tmp_path / "prepared"
    assert main(["prepare", "ubench", "chexpert", "--folder", str(downloads), "--target", str(target)]) == 1
    out = capsys.readouterr().out
    assert f"ubench_stain: {len(ubench.ubench_rows()) - 8} samples, 0 rejects, 8 rows that are not asked" in out
    assert "ubench_opencell: 0 samples, 0 rejects, 2 rows that are not asked" in out
    assert "problem: no sample could be used" in out
    assert "chexpert: 10 samples, 0 rejects" in out
    assert len(list(target.glob("ubench-*/images.parquet"))) == 1
    assert main(["validate", "--target", str(target)]) == 1
    assert "ubench_wu_2023: ok" in capsys.readouterr().out


def test_evaluation_set_is_prepared_and_compared(downloads: Path, tmp_path: Path, capsys, monkeypatch) -> None:
    monkeypatch.chdir(tmp_path)
    rows = [row for row in ubench.ubench_rows() if row["dataset"] == "wu_et_al_2023"]
    copies = []
    for row in rows[:3]:
        asked = row["captions"]["classification_0"]
        image = row["image"]["bytes"]
        copies.append(
            evaluation_row("wu", image, asked["options"], asked["answer_idx"], row["label_name"], row["image_id"])
        )
    copies.append(evaluation_row("mystery", encoded(tile(0, 1, 1)), ["a", "b"], 0, "a", "m"))
    source = write_evaluation_set(tmp_path / "released", {"uBench": copies})
    own, released = tmp_path / "own", tmp_path / "data/01_raw/evaluation_set"
    assert main(["prepare", "ubench_wu_2023", "--folder", str(downloads), "--target", str(own)]) == 0
    prepare = ["prepare", "evaluation_set", "--source", str(source)]
    assert main(prepare) == 2
    assert "none of its tasks is known: mystery, wu" in capsys.readouterr().err
    assert main([*prepare, "--named", "wu=ubench_wu_2023"]) == 0
    assert "left out 1 rows of 'mystery'" in capsys.readouterr().out
    assert main(["compare", str(own), str(released)]) == 0
    assert "ubench_wu_2023: 3 rows in both, 1 only in the first source, 0 only in the second; 0 with another" in (
        capsys.readouterr().out
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["prepare", "pcan"], "did you mean 'pcam'"),
        (["prepare", "pathmnist"], r"pathmnist does not exist: `python -m biomedica_kedro.benchmark fetch pathmnist`"),
        (["prepare", "rsna_pneumonia"], "is empty: .* prints how to get the data"),
        (["prepare", "begun"], "no task 'begun'"),
        (["prepare", "dsad"], "was not fetched to its end"),
        (["prepare", "embedded_concept"], "--source says where your data lie"),
    ],
    ids=["misspelled", "not fetched", "by hand", "unknown", "half fetched", "own"],
)
def test_what_cannot_be_prepared_says_what_to_do(downloads: Path, tmp_path: Path, capsys, arguments, message) -> None:
    (downloads / "dsad").mkdir()
    assert main([*arguments, "--folder", str(downloads), "--target", str(tmp_path / "s")]) == 2
    error = capsys.readouterr().err
    assert re.search(message, error), error


def test_fetch_tells_steps_and_asks_for_names(tmp_path: Path, capsys) -> None:
    assert main(["fetch", "rsna_pneumonia", "--folder", str(tmp_path)]) == 1
    assert f"{tmp_path / 'rsna_pneumonia'}/stage_2_train_labels.csv exist" in capsys.readouterr().out
    assert main(["fetch", "--list", "--folder", str(tmp_path)]) == 0
    assert capsys.readouterr().out.startswith("name ")
    with pytest.raises(SystemExit):
        main(["fetch"])
