"""The evaluation pipeline: embed the benchmark, score, compare, publish, and sum a run up in a page."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from biomedica_kedro.pipelines.evaluation import reports, stages
from biomedica_kedro.stages.node import batch_node, report_node

_MODELS, _SCORING = "params:evaluation.models", "params:evaluation.score_benchmark"


def create_pipeline(**_: object) -> Pipeline:
    """Measure models on the benchmark's tasks, with intervals and paired comparisons."""
    return Pipeline([*_measures(), *_reports()], namespace="evaluation", prefix_datasets_with_namespace=False)


def _measures() -> list[Node]:
    """The tasks as each model sees them, every metric, and which samples the training has seen."""
    return [
        report_node(
            reports.list_active_tasks,
            inputs=["benchmark_tasks", "benchmark_samples", "params:evaluation.list_active_tasks"],
            outputs=["active_tasks"],
        ),
        batch_node(
            stages.embed_benchmark,
            cut=stages.models_on_images,
            optional=["clip_checkpoint"],
            makes=["benchmark_embeddings"],
        ),
        batch_node(stages.score_benchmark, cut=stages.models_on_tasks, makes=["benchmark_scores", "predictions"]),
        batch_node(
            stages.check_contamination,
            cut=stages.tasks_to_check,
            whole=["dataset_metadata", "dataset_shards"],
            optional=["dataset_metadata", "dataset_shards", "image_embeddings"],
            makes=["contamination"],
        ),
    ]


def _reports() -> list[Node]:
    """Models beside each other: tables, the leaderboard, and what a reader sees of it in MLflow; the page of a run."""
    learned = ["cluster_labels", "training_counts", "training_history"]
    pictures = ["contact_sheet", "sample_contact_sheet"]
    return [
        report_node(
            reports.compare_models,
            inputs=[
                "benchmark_scores", "predictions", "contamination", "benchmark_tasks", "clip_checkpoint", _MODELS,
                _SCORING,
            ],
            optional=["clip_checkpoint"],
            outputs=[
                "benchmark_table", "domain_averages", "model_comparison", "benchmark_summary", "model_errors",
            ],
        ),
        report_node(
            reports.draw_leaderboard,
            inputs=[
                "benchmark_scores", "benchmark_table", "domain_averages", "model_comparison", "benchmark_summary",
                "active_tasks", "published_scores", "benchmark_tasks",
            ],
            outputs=["leaderboard", "benchmark_pages"],
        ),
        report_node(
            reports.publish_benchmark,
            inputs=[
                "benchmark_scores", "benchmark_table", "active_tasks", "benchmark_tasks", "benchmark_pages",
                "clip_checkpoint", _MODELS, _SCORING,
            ],
            outputs=["benchmark_runs"],
            optional=["clip_checkpoint"],
        ),
        report_node(
            reports.promote_champion,
            inputs=["model_comparison", "clip_checkpoint", _MODELS],
            outputs=["champion"],
            optional=["clip_checkpoint"],
        ),
        report_node(
            reports.write_report,
            inputs=["run_summary", *learned, "benchmark_table", *pictures, "model_errors"],
            optional=[*learned, *pictures],
            outputs=["run_report"],
        ),
    ]  # fmt: skip
