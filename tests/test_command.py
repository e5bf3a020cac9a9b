"""One command for everything: it finds its modules, passes arguments on, and says what there is."""

from __future__ import annotations

import builtins
import importlib.util
import re
import sys
import tomllib
from pathlib import Path

import pytest

from biomedica_kedro.command import COMMANDS, help_text, main

PROJECT = Path(__file__).resolve().parents[1]


@pytest.fixture(autouse=True)
def _own_arguments(monkeypatch):
    monkeypatch.setattr(sys, "argv", ["biomedica"])
    monkeypatch.setenv("COLUMNS", "120")


def help_of(capsys, *words: str) -> str:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--help"])
    assert ended.value.code == 0
    return capsys.readouterr().out


def test_every_command_is_a_module_that_can_be_run():
    modules = {name: f"{command.module}.__main__" for name, command in COMMANDS.items()}
    assert [name for name, module in modules.items() if importlib.util.find_spec(module) is None] == []


def test_every_command_names_an_extra_of_the_package():
    extras = tomllib.loads((PROJECT / "pyproject.toml").read_text())["project"]["optional-dependencies"]
    assert {command.extra for command in COMMANDS.values()} <= extras.keys()


def test_help_shows_an_example_of_each(capsys):
    main(["--help"])

    assert capsys.readouterr().out == help_text()
    assert all(f"  biomedica {name} " in help_text() for name in COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_help_of_a_command_speaks_of_it_and_shows_its_examples(capsys, name):
    told = help_of(capsys, name)

    assert f"biomedica {name} [" in told.partition("\n\n")[0]
    assert f"python -m {COMMANDS[name].module}" not in told
    assert told.count(f"\n  biomedica {name}") >= len(COMMANDS[name].examples)


@pytest.mark.parametrize("name", ["shards", "benchmark"])
def test_every_subcommand_has_an_example_in_its_own_help(capsys, name):
    (listed,) = set(re.findall(r"^  \{([\w,]+)\}", help_of(capsys, name), re.MULTILINE))
    for subcommand in listed.split(","):
        _, examples = help_of(capsys, name, subcommand).split("\nexamples:\n")
        assert examples.startswith(f"  biomedica {name} {subcommand}")
        assert examples.count("\n") == 1


def test_arguments_go_on_to_the_module(capsys):
    assert "--contact-sheet" in help_of(capsys, "corpus")


def test_misspelt_command_is_answered_with_the_close_match():
    with pytest.raises(SystemExit, match="did you mean 'browse'"):
        main(["brows"])


def test_missing_package_is_answered_with_the_extra_that_brings_it(monkeypatch):
    without = builtins.__import__

    def refuse(name, *arguments, **options):
        if name == "rich" or name.startswith("rich."):
            raise ModuleNotFoundError("No module named 'rich'", name="rich")
        return without(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(SystemExit, match=re.escape("needs the package 'rich': pip install 'biomedica-kedro[shards]'")):
        main(["shards", "lint", "nowhere.tar"])
