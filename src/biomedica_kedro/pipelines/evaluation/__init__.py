"""Evaluation: measure models on the benchmark and publish the comparison."""

from biomedica_kedro.pipelines.evaluation.pipeline import create_pipeline

__all__ = ["create_pipeline"]
