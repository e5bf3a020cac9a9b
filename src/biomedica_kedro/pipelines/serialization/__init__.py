"""Serialization: image-caption pairs to shards that stream, a table that filters, and a card that tells."""

from biomedica_kedro.pipelines.serialization.pipeline import create_pipeline

__all__ = ["create_pipeline"]
