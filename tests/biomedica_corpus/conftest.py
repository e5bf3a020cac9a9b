"""A small corpus, written once for all tests of the package."""

from __future__ import annotations

from pathlib import Path

import pytest

from biomedica_corpus import CorpusOptions, write_corpus

SMALL = CorpusOptions(articles=24, held_out_articles=10, image_size=96, workers=1)


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("corpus") / "corpus"
    write_corpus(folder, SMALL)
    return folder
