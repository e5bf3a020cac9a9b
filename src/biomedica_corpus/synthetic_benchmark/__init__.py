"""The benchmark's data sets in miniature, drawn: they let every loader and metric run offline.

Everything made of them is marked synthetic: a score on them says nothing about a model, and never enters an average
with real ones.
"""

from biomedica_corpus.synthetic_benchmark.write import write_synthetic_benchmark

__all__ = ["write_synthetic_benchmark"]
