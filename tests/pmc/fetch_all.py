"""Fetch everything a source lists, as one batch; as a script: URL FOLDER, to be killed or starved."""

from __future__ import annotations

import sys
from pathlib import Path

from biomedica_kedro.http import RetryPolicy
from biomedica_kedro.pipelines.ingestion.stages import fetch_articles
from biomedica_kedro.pmc.cloud import CloudSource
from biomedica_kedro.pmc.fetch import FetchOptions

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the process that is killed
from engine import run_stage

HASTE = RetryPolicy(tries=3, first_pause=0.001, longest_pause=0.01, timeout=0.3)
EVERYTHING = FetchOptions(max_failed_share=1.0)


def fetch(source, root, options=EVERYTHING):
    """The archive of all articles of a source, as one batch."""
    return run_stage(
        fetch_articles,
        root,
        "article_archive",
        options=[options],
        tools={"article_source": source},
        cut={"0000": {"selected_articles": source.list_articles()}},
    )


if __name__ == "__main__":
    fetch(CloudSource(sys.argv[1], 2, HASTE), Path(sys.argv[2]))
