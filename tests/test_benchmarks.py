"""The benchmarks that need no peer of their own run, at a size that says nothing about speed."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

BENCHMARKS = Path(__file__).parents[1] / "benchmarks"
VERDICTS = "image,found,probability,found_without_caption,kind,panels,boxes_right"


@pytest.mark.parametrize(
    "command",
    [
        "annotation.py components --rows 5000 --dimensions 32",
        "annotation.py k_means --rows 5000 --dimensions 16 --clusters 8",
        "driver_memory.py --rows 3000",
        "engine.py --batches 20 --stages 2",
        "extraction.py --rounds 1 --without-peers",
        "filtering.py --rows 20000 --folder scratch",
        "object_store.py --articles 8 --batches 2 --rounds 1",
        "panels.py --figures 24",
        "real_panels.py --verdicts verdicts.csv",
        "scale_run.py --articles 40 --articles-per-batch 20 --workers 0",
        "search.py --rows 2000 --dimensions 32 --folder scratch",
        "sequential_reads.py --samples 20 --rounds 1 --folder scratch",
        "serialization.py --samples 20 --rounds 1",
        "sub_captions.py --captions captions.jsonl",
        "training_step.py --rounds 1",
    ],
    ids=lambda command: " ".join(word for word in command.split("-")[0].split()),
)
def test_a_benchmark_measures_and_writes_its_result(command: str, tmp_path: Path) -> None:
    shutil.copytree(BENCHMARKS, tmp_path / "benchmarks", ignore=shutil.ignore_patterns("results", "__pycache__"))
    (tmp_path / "benchmarks" / "results").mkdir()
    shutil.copytree(BENCHMARKS.parent / "conf", tmp_path / "conf", ignore=shutil.ignore_patterns("local"))
    panels = [{"label": "A", "caption": "Cells. Red."}, {"label": "B", "caption": "Cells. Green."}]
    caption = {"id": "1", "caption": "Cells. (A) Red. (B) Green.", "panels": panels}
    (tmp_path / "captions.jsonl").write_text(json.dumps(caption))
    verdicts = "0,2,0.9,1,compound,2,yes\n1,1,0.1,1,formulas,1,yes\n"
    (tmp_path / "verdicts.csv").write_text(f"{VERDICTS}\n{verdicts}")
    (tmp_path / "docs" / "images").mkdir(parents=True)
    environment = {name: value for name, value in os.environ.items() if name != "WDS_SECURE"}

    done = subprocess.run(
        [sys.executable, *f"benchmarks/{command}".split()],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip

    name = command.partition(".")[0]
    assert done.returncode == 0, done.stderr[-2000:]
    assert "|" in (tmp_path / "benchmarks" / "results" / f"{name}.md").read_text()


@pytest.mark.parametrize(
    ("command", "made"),
    [
        ("train_panel_cuts.py --figures 12 --output cuts.safetensors", "cuts.safetensors"),
        ("train_panel_glance.py --blocks 1 --figures 40 --output glance.safetensors", "glance.safetensors"),
        ("train_panel_letters.py --letters 600 --figures 2 --output letters.safetensors", "letters.safetensors"),
        ("layout_statistics.py --layouts layouts.tsv", "benchmarks/layout_statistics.json"),
    ],
    ids=["cuts", "glance", "letters", "layouts"],
)
def test_what_panels_are_found_with_is_made_by_the_project(command: str, made: str, tmp_path: Path) -> None:
    shutil.copytree(BENCHMARKS, tmp_path / "benchmarks", ignore=shutil.ignore_patterns("results", "__pycache__"))
    sides = ("left", "top", "right", "bottom")
    rows = [["figure", *sides, "label", *(f"label_{side}" for side in sides)]]
    for name in ("one", "two", "three"):
        rows += [[name, x, y, x + 90, y + 80, "A", x + 2, y + 2, x + 12, y + 14] for x in (0, 95) for y in (0, 84)]
    rows += [["four", 0, 0, 200, 100, "", "", "", "", ""]]
    (tmp_path / "layouts.tsv").write_text("\n".join("\t".join(map(str, row)) for row in rows))

    done = subprocess.run(
        [sys.executable, *f"benchmarks/{command}".split()], cwd=tmp_path, capture_output=True, text=True, check=False
    )

    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / made).stat().st_size > 500


def test_training_on_panels_is_compared_with_training_without_them_on_the_embedded_corpus(tmp_path: Path) -> None:
    for folder in ("benchmarks", "conf"):
        left = shutil.ignore_patterns("results", "__pycache__", "local")
        shutil.copytree(BENCHMARKS.parent / folder, tmp_path / folder, ignore=left)
    shutil.copy(BENCHMARKS.parent / "pyproject.toml", tmp_path)
    (tmp_path / "src").mkdir()
    for package in ("biomedica_kedro", "biomedica_corpus"):
        (tmp_path / "src" / package).symlink_to(BENCHMARKS.parent / "src" / package)

    done = subprocess.run(
        [sys.executable, "benchmarks/sub_figures.py", "--articles", "40", "--steps", "2", "--seeds", "0"],
        cwd=tmp_path, capture_output=True, text=True, check=False,
    )  # fmt: skip

    assert done.returncode == 0, done.stderr[-2000:]
    rows = json.loads((tmp_path / "benchmarks" / "results" / "sub_figures.json").read_text())["rows"]
    assert [row["trained on"] for row in rows] == [*["figures", "figures and panels"] * 2, "difference"]
    assert rows[0]["samples"] < rows[1]["samples"]


def test_real_figures_are_drawn_with_their_boxes_and_listed(tmp_path: Path) -> None:
    article = tmp_path / "packages" / "one"
    article.mkdir(parents=True)
    fig = '<fig id="f1"><caption><p>Cells.</p></caption><graphic xlink:href="f1.png"/></fig>'
    (article / "one.xml").write_text(
        f'<article xmlns:xlink="http://www.w3.org/1999/xlink"><body>{fig}</body></article>'
    )
    Image.new("RGB", (300, 200), "gray").save(article / "f1.png")

    subprocess.run(
        [sys.executable, "benchmarks/real_panels.py", "--packages", article.parent, "--sheets", tmp_path / "sheets"],
        cwd=BENCHMARKS.parent, check=True,
    )  # fmt: skip

    listed = (tmp_path / "sheets" / "verdicts.csv").read_text().splitlines()
    assert listed[0] == VERDICTS
    assert re.fullmatch(r"0,1,0\.[0-4]\d\d,1,,,", listed[1])
    assert Image.open(tmp_path / "sheets" / "sheet_0.png").size == (1880, 1200)


def test_how_far_scores_of_panels_can_be_trusted_is_drawn(tmp_path: Path) -> None:
    shutil.copytree(BENCHMARKS, tmp_path / "benchmarks", ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "docs" / "images").mkdir(parents=True)

    subprocess.run(
        [sys.executable, "-c", "import reliability; reliability.draw_scores()"], cwd=tmp_path / "benchmarks", check=True
    )

    drawn = np.asarray(Image.open(tmp_path / "docs" / "images" / "panel_scores.png").convert("RGB")).reshape(-1, 3)
    for color in ((31, 119, 180), (214, 39, 40)):  # of the drawn figures, and of the real ones
        assert (drawn == color).all(1).sum() > 100


@pytest.mark.parametrize(("name", "mark"), [("real_panels", "|"), ("sub_figures", "| mean |")])
def test_results_of_panels_are_those_in_the_documentation(name: str, mark: str) -> None:
    written = (BENCHMARKS / "results" / f"{name}.md").read_text().splitlines()
    page = (BENCHMARKS.parent / "docs" / "how-to" / "panels.md").read_text()

    assert "\n".join(line for line in written if line.startswith("|") and mark in line) in page
