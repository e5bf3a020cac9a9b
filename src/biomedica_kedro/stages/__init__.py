"""The engine: a stage is a function of one batch, said once, and its node does the work.

A batch holds the articles whose PMCID falls in one hash bucket (or one shard, or everything: `WHOLE`). What every
module may know stands here: `BatchFolder`, where a data set's batches lie. Pipelines take `Batch` and `@stage` from
`stage`, `batch_node` and `report_node` from `node`.
"""

from biomedica_kedro.stages.folder import WHOLE, BatchFolder, Commit, IncompleteError
from biomedica_kedro.stages.items import map_items

__all__ = ["WHOLE", "BatchFolder", "Commit", "IncompleteError", "map_items"]
