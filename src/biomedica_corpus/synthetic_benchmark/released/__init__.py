"""The benchmark's data sets in exactly the layout they are released in, in miniature: names, dtypes, nesting, quirks.

A few drawn tiles a class; everything made of them is synthetic. Facts of a release that were read in public code stand
beside the writer, and so does what was not seen. The stand-ins are made so, and the tests read them.
"""

from biomedica_corpus.synthetic_benchmark.released.write import WRITERS, write_and_prepare, write_released

__all__ = ["WRITERS", "write_and_prepare", "write_released"]
