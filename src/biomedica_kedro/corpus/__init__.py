"""The embedded corpus: a procedural stand-in for PMC's open data, seeded and served in the same layout."""
