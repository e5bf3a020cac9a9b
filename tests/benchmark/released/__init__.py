"""Writes a few rows of each data set in exactly the layout it is released in: names, dtypes, nesting.

Facts of a release that were read in public code stand beside the writer; what was not seen is said there.
"""
