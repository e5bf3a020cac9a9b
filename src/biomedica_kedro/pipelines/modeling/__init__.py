"""Select training samples, train CLIP from the shards, show how it went, and search the archive by the model."""

from biomedica_kedro.pipelines.modeling.pipeline import create_pipeline

__all__ = ["create_pipeline"]
