"""WebDataset shards: writing, indexing, streaming, auditing."""
