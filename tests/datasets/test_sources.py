from __future__ import annotations

import pickle
from pathlib import Path

import pytest
from pydantic import ValidationError

from biomedica_kedro.datasets.sources import EmbeddedCorpusSource
from biomedica_kedro.pmc.source import Source

SMALL = {"articles": 4, "held_out_articles": 0, "image_size": 64, "planted_faults": False}


def test_loading_the_embedded_corpus_draws_nothing(tmp_path: Path) -> None:
    source = pickle.loads(pickle.dumps(EmbeddedCorpusSource(path=str(tmp_path / "corpus"), options=SMALL).load()))
    assert isinstance(source, Source)
    assert list(tmp_path.iterdir()) == []


def test_listing_the_embedded_corpus_draws_it(tmp_path: Path) -> None:
    source = EmbeddedCorpusSource(path=str(tmp_path / "corpus"), options=SMALL).load()
    assert source.list_articles().num_rows == 4


def test_an_unknown_option_of_the_corpus_is_refused_with_the_close_match(tmp_path: Path) -> None:
    source = EmbeddedCorpusSource(path=str(tmp_path / "corpus"), options={"artciles": 4}).load()
    with pytest.raises(ValidationError, match="did you mean 'articles'"):
        source.list_articles()
