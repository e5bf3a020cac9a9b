"""The unit of work: batches, where their files lie, when they are done, and how they are spread over workers.

A batch holds the articles whose PMCID falls in one hash bucket (or one shard, or everything: `WHOLE`). A stage maps
batches to batches: `plan_batches` says what is to be done, and the plan runs once each of its outputs knows its place.
"""

from biomedica_kedro.batches.folder import BatchFolder, Commit, IncompleteError
from biomedica_kedro.batches.items import map_items
from biomedica_kedro.batches.plan import WHOLE, Batch, BatchOptions, Plan, PlannedOutput, Report, plan_batches
from biomedica_kedro.batches.spread import TaskError

__all__ = [
    "WHOLE",
    "Batch",
    "BatchFolder",
    "BatchOptions",
    "Commit",
    "IncompleteError",
    "Plan",
    "PlannedOutput",
    "Report",
    "TaskError",
    "map_items",
    "plan_batches",
]
