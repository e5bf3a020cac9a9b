"""Readers of the data as distributed, by kind of format, not by data set: seven kinds cover all 40 tasks.

Every reader yields rows of the interchange form (see `samples`), or a `Reject` for a row it cannot use; a file that is
missing or has other columns than expected is a `LoaderError`, since then nothing can be read.
"""
