"""What is trained on, and how it went, to look at."""

from __future__ import annotations

from typing import TYPE_CHECKING

from biomedica_kedro.stages import BatchFolder
from biomedica_kedro.stages.stage import stage

if TYPE_CHECKING:
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
