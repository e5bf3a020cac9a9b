"""The embedded corpus knows the truth of every caption: titles, groups, formulas, markup, in every flavor of markup."""

from __future__ import annotations

from dataclasses import asdict

import pyarrow.parquet as pq

from biomedica_corpus import CorpusOptions, write_corpus
from biomedica_kedro.images.pairs import caption_for
from biomedica_kedro.jats import parse_article


def test_every_caption_of_the_embedded_corpus_is_exactly_the_true_one(tmp_path):
    write_corpus(tmp_path, CorpusOptions(articles=40, held_out_articles=0, image_size=64))
    truth = pq.read_table(tmp_path / "truth.parquet").to_pylist()
    found = {}
    # Some of the corpus's files are broken on purpose; none of these has a truth.
    for article_id in {row["article_id"] for row in truth}:
        path = tmp_path / article_id / f"{article_id}.xml"
        for figure in parse_article(path.read_bytes(), article_id=article_id).figures:
            for graphic in figure.graphics:
                key = (article_id, figure.figure_id, graphic.part)
                found[key] = caption_for(asdict(figure), "en")
    assert len(truth) > 100
    wrong = {
        (row["article_id"], row["figure_id"], row["flavor"]): (found.get(key), row["caption"])
        for row in truth
        if found.get(key := (row["article_id"], row["figure_id"], row["part"])) != row["caption"]
    }
    assert wrong == {}
