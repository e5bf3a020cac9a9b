"""Ingestion: from the listing of PubMed Central's open articles to an archive of the selected ones."""

from biomedica_kedro.pipelines.ingestion.pipeline import create_pipeline

__all__ = ["create_pipeline"]
