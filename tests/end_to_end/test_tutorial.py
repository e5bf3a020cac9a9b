"""The tutorial is gone through as it is written, block by block, from the end of the first run on."""

from __future__ import annotations

import re
import sys
from itertools import groupby

import pytest

from biomedica_kedro.command import COMMANDS
from tests.end_to_end.test_how_to import PAGES, RUN, Block, blocks, run_command


def steps() -> list[tuple[str, str]]:
    """Kind and text of what is run, in order; neighbors of a kind are one step."""
    own = [block for block in blocks() if block.page == PAGES[0].name and block.said is None]
    return [(kind, "\n".join(block.text for block in run)) for kind, run in groupby(own, key=kind_of)]


def kind_of(block: Block) -> str:
    return block.kind


@pytest.fixture(scope="module")
def told(copy, finished, tmp_path_factory) -> list[str]:
    """What each step printed."""
    folder, printed = tmp_path_factory.mktemp("steps"), []
    for number, (kind, text) in enumerate(steps()):
        if kind == "python":
            (folder / "run.py").write_text(RUN)
            (folder / f"{number}.py").write_text(text)
            command = f"{sys.executable} {folder / 'run.py'} {folder / f'{number}.py'}"
            printed.append(run_command(command, copy, finished[0].environment))
        else:
            commands = [line for line in text.splitlines() if line]
            printed.append("\n".join(run_command(line, copy, finished[0].environment) for line in commands))
    return printed


def told_of(told: list[str], words: str) -> str:
    """What was printed by the only step that says these words."""
    (found,) = (printed for (_, text), printed in zip(steps(), told, strict=True) if words in text)
    return found


def test_archive_answers_words(told):
    assert "Chest radiograph" in told_of(told, "biomedica browse")


def test_search_and_rejects_are_read_in_python(told):
    printed = told_of(told, "light microscopy of the kidney")
    assert re.search("kidney", printed, re.IGNORECASE)
    assert "hostile_xml" in printed


def test_own_votes_name_clusters_and_are_taken_back(told):
    said = r"(\d+) of \d+ clusters voted on; labeled (\d+) of (\d+) images"
    voted = re.findall(said, told_of(told, "rm data/01_raw"))
    (own, labeled, images), (_, later, _) = ([int(number) for number in line] for line in voted)
    assert 1 <= own < 100
    assert 0 < labeled < later <= images


def test_second_model_is_compared_with_the_first(told):
    run, table = told_of(told, "train_clip.steps=60"), told_of(told, "model_comparison")
    assert "train_clip" in run
    assert re.search(r"embedded_concept +-?0\.\d+ +-?0\.\d+ +-?0\.\d+ +(win|tie|loss)", table)


def test_every_command_it_names_is_there():
    named = re.findall(r"^biomedica (\w+)", "\n".join(text for _, text in steps()), re.MULTILINE)
    assert len(named) >= 2
    assert set(named) <= COMMANDS.keys()
