"""The evaluation pipeline: embed the benchmark, score, compare, publish."""

from __future__ import annotations

from kedro.pipeline import Node, Pipeline

from biomedica_kedro.pipelines.evaluation import nodes


def create_pipeline(**_: object) -> Pipeline:
    """Measure models on the benchmark's tasks, with intervals and paired comparisons."""
    return Pipeline(
        [*_embedding(), *_scores(), *_comparison(), *_publication()],
        namespace="evaluation",
        prefix_datasets_with_namespace=False,
    )


def _embedding() -> list[Node]:
    """The tasks that can be measured, as each model sees them."""
    return [
        Node(
            nodes.list_active_tasks,
            inputs=[
                "benchmark_tasks",
                "benchmark_samples",
                "params:evaluation.list_active_tasks",
            ],
            outputs="active_tasks",
            name="list_active_tasks",
            tags=["report"],
        ),
        Node(
            nodes.embed_benchmark,
            inputs=[
                "active_tasks",
                "benchmark_tasks",
                "benchmark_samples",
                "clip_checkpoint",
                "params:evaluation.models",
                "params:evaluation.embed_benchmark",
                "params:batches",
            ],
            outputs=["benchmark_embeddings", "rejected_samples"],
            name="embed_benchmark",
            tags=["batches", "gpu"],
        ),
    ]


def _scores() -> list[Node]:
    """Every metric of every task, from cached embeddings, and which samples the training has seen."""
    return [
        Node(
            nodes.score_classification,
            inputs=[
                "benchmark_embeddings",
                "active_tasks",
                "benchmark_tasks",
                "params:evaluation.score_classification",
                "params:batches",
            ],
            outputs=["classification_scores", "predictions"],
            name="score_classification",
            tags=["batches"],
        ),
        Node(
            nodes.score_probes,
            inputs=[
                "benchmark_embeddings",
                "active_tasks",
                "benchmark_tasks",
                "params:evaluation.score_probes",
                "params:batches",
            ],
            outputs=["probe_scores"],
            name="score_probes",
            tags=["batches"],
        ),
        Node(
            nodes.score_retrieval,
            inputs=[
                "benchmark_embeddings",
                "active_tasks",
                "benchmark_tasks",
                "params:evaluation.score_retrieval",
                "params:batches",
            ],
            outputs=["retrieval_scores"],
            name="score_retrieval",
            tags=["batches"],
        ),
        Node(
            nodes.check_contamination,
            inputs=[
                "active_tasks",
                "benchmark_samples",
                "dataset_metadata",
                "dataset_shards",
                "image_embeddings",
                "vision_encoder",
                "params:evaluation.check_contamination",
                "params:batches",
            ],
            outputs=["contamination"],
            name="check_contamination",
            tags=["batches"],
        ),
    ]


def _comparison() -> list[Node]:
    """Models beside each other: tables, averages, the leaderboard."""
    return [
        Node(
            nodes.compare_models,
            inputs=[
                "classification_scores",
                "probe_scores",
                "retrieval_scores",
                "predictions",
                "contamination",
                "benchmark_tasks",
                "params:evaluation.models",
                "params:evaluation.score_classification",
            ],
            outputs=[
                "benchmark_table",
                "domain_averages",
                "class_recalls",
                "probe_table",
                "model_comparison",
                "benchmark_summary",
            ],
            name="compare_models",
            tags=["report"],
        ),
        Node(
            nodes.draw_leaderboard,
            inputs=[
                "benchmark_table",
                "domain_averages",
                "class_recalls",
                "probe_table",
                "model_comparison",
                "active_tasks",
                "published_scores",
            ],
            outputs=["leaderboard", "leaderboard_page"],
            name="draw_leaderboard",
            tags=["report"],
        ),
        Node(
            nodes.write_tables,
            inputs=["benchmark_table", "domain_averages", "class_recalls", "active_tasks", "benchmark_tasks"],
            outputs=["task_cards", "score_tables"],
            name="write_tables",
            tags=["report"],
        ),
    ]


def _publication() -> list[Node]:
    """What a reader sees of it in MLflow."""
    return [
        Node(
            nodes.draw_diagnostics,
            inputs=[
                "predictions",
                "active_tasks",
                "benchmark_tasks",
                "params:evaluation.models",
                "params:evaluation.score_classification",
            ],
            outputs=["confusion_matrices", "reliability_curves"],
            name="draw_diagnostics",
            tags=["report"],
        ),
        Node(
            nodes.publish_benchmark,
            inputs=[
                "classification_scores",
                "probe_scores",
                "retrieval_scores",
                "contamination",
                "domain_averages",
                "active_tasks",
                "benchmark_tasks",
                "leaderboard_page",
                "task_cards",
                "score_tables",
                "params:evaluation.score_classification",
            ],
            outputs="benchmark_runs",
            name="publish_benchmark",
            tags=["report"],
        ),
        Node(
            nodes.nominate_champion,
            inputs=["model_comparison", "clip_checkpoint", "params:evaluation.models"],
            outputs="champion",
            name="nominate_champion",
            tags=["report"],
        ),
    ]
