"""What is trained on, and how it went, to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from biomedica_kedro.clip.mismatches import MismatchOptions
from biomedica_kedro.shards.folder import ShardFolder
from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.stage import stage

if TYPE_CHECKING:
    import pandas as pd
    from matplotlib.figure import Figure as Picture
    from plotly.graph_objects import Figure


@stage(version=1)
def plot_selection(training_counts: BatchFolder, caption_tokens: BatchFolder) -> Figure:
    """Draw what the recipe takes of each concept, and what text towers would cut from the captions."""
    from biomedica_kedro.clip.curves import draw_selection

    return draw_selection(training_counts.table(), caption_tokens.table())


@stage(version=1)
def plot_training(training_history: BatchFolder) -> Figure:
    """Draw loss, learning rate and validation retrieval over the steps."""
    from biomedica_kedro.clip.curves import draw_curves

    return draw_curves(training_history.table())


@stage(version=1)
def find_mismatches(
    clip_checkpoint: BatchFolder,
    dataset_shards: ShardFolder | None,
    dataset_metadata: BatchFolder | None,
    options: MismatchOptions,
) -> tuple[pd.DataFrame, Picture]:
    """Show the pairs whose caption may belong to another image: unlike for the trained model, or unlike a copy's.

    None, where the training streams what others published.
    """
    import pyarrow as pa

    from biomedica_kedro.clip import mismatches
    from biomedica_kedro.shards.reader import read_sample

    if dataset_shards is None or dataset_metadata is None:
        none = mismatches.MISMATCHES.empty_table()
        return none.to_pandas(), mismatches.draw_mismatches(none, [])
    source = dataset_metadata.name
    copies, places = mismatches.find_unlike_copies(dataset_metadata, source, options)
    found, shown = mismatches.least_alike(clip_checkpoint, {source: dataset_shards.stream(columns=[])}, options)
    samples = [read_sample(str(dataset_shards.path / shard), offset, n_bytes) for shard, offset, n_bytes in places]
    table = pa.concat_tables([copies, found])
    return table.to_pandas(), mismatches.draw_mismatches(table, [*samples, *shown])
