"""Catalog adapters for what kedro-datasets lacks; imported lazily, since the catalog names each by its module."""
