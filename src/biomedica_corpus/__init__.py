"""The embedded corpus: a procedural stand-in for PMC's open data, seeded and served in the same layout."""

from biomedica_corpus.options import CorpusOptions
from biomedica_corpus.write import read_manifest, write_corpus

__all__ = ["CorpusOptions", "read_manifest", "write_corpus"]
