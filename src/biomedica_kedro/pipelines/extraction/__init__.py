"""Archived articles to image-caption pairs."""

from biomedica_kedro.pipelines.extraction.pipeline import create_pipeline

__all__ = ["create_pipeline"]
