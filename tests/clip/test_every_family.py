"""One small model of every family goes the whole way: base, a few steps, checkpoint, open_clip again, evaluation."""

from __future__ import annotations

import pytest

pytest.importorskip("transformers", reason="the extra `text-towers` is not installed")

from tests.clip.every_family import BEGIN, DOCS, END, in_docs, table


def test_every_family_goes_the_whole_way_and_the_docs_say_so(small_corpus, tmp_path):
    made = table(small_corpus, tmp_path)
    assert BEGIN in DOCS.read_text() and END in DOCS.read_text()
    assert in_docs(DOCS.read_text()) == made
