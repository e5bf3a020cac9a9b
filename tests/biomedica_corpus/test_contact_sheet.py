from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from biomedica_corpus.__main__ import main
from biomedica_corpus.contact_sheet import draw_contact_sheet


def test_contact_sheet_shows_every_class() -> None:
    sheet = draw_contact_sheet(0, examples=1, cell=48)
    pixels = np.asarray(sheet)
    rows = np.array_split(pixels, 10)
    assert all(half.std() > 5 for row in rows for half in np.array_split(row, 2, axis=1))


def test_command_writes_corpus_and_contact_sheet(tmp_path: Path) -> None:
    arguments = ["--articles", "4", "--held-out-articles", "0", "--image-size", "64", "--workers", "1"]
    main([str(tmp_path / "corpus"), *arguments, "--contact-sheet", str(tmp_path / "sheet.png")])
    assert (tmp_path / "corpus" / "corpus.json").is_file()
    assert Image.open(tmp_path / "sheet.png").size[0] > 500


def test_command_refuses_an_unknown_option(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([str(tmp_path), "--artciles", "4"])
    assert "--artciles" in capsys.readouterr().err
