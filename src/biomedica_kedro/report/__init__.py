"""A run as one page: where every record went, under which licenses, what was learned; in tables, curves, pictures."""
