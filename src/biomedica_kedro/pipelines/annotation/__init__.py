"""From pixels to expert labels."""

from biomedica_kedro.pipelines.annotation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
