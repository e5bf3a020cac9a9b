"""One command for everything: it finds its modules, passes arguments on, and says what there is."""

from __future__ import annotations

import importlib.util
import sys

import pytest

from biomedica_kedro.command import COMMANDS, help_text, main


def test_every_command_is_a_module_that_can_be_run():
    assert [
        name for name, (module, _, _) in COMMANDS.items() if importlib.util.find_spec(f"{module}.__main__") is None
    ] == []


def test_help_shows_an_example_of_each(capsys):
    main(["--help"])

    assert capsys.readouterr().out == help_text()
    assert all(f"  biomedica {name} " in help_text() for name in COMMANDS)


def test_arguments_go_on_to_the_module(capsys, monkeypatch):
    monkeypatch.setattr(sys, "argv", ["biomedica"])

    with pytest.raises(SystemExit) as ended:
        main(["corpus", "--help"])

    assert ended.value.code == 0
    assert "--contact-sheet" in capsys.readouterr().out


def test_misspelt_command_is_answered_with_the_close_match():
    with pytest.raises(SystemExit, match="did you mean 'browse'"):
        main(["brows"])
