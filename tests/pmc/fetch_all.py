"""Fetch everything a source lists, as one batch; as a script: URL FOLDER, to be killed or starved."""

from __future__ import annotations

import sys
from pathlib import Path

from biomedica_kedro.batches import BatchFolder, plan_batches
from biomedica_kedro.pmc.cloud import CloudSource
from biomedica_kedro.pmc.fetch import FetchOptions, fetch_articles
from biomedica_kedro.pmc.patience import Patience

HASTE = Patience(tries=3, first_pause=0.001, longest_pause=0.01, timeout=0.3)
EVERYTHING = FetchOptions(max_failed_share=1.0)


def fetch(source, root, options=EVERYTHING):
    """The archive and the failures of all articles of a source, as one batch."""
    plan = plan_batches(
        fetch_articles,
        stage="fetch_articles",
        outputs=["article_archive", "failed_downloads"],
        parameters=options,
        whole={"article_source": source},
        slices={"selected_articles": {"0000": source.list_articles()}},
    )
    folders = {output.name: BatchFolder(root / output.name) for output in plan}
    for output in plan:
        output.deliver(folders[output.name])
    return folders


if __name__ == "__main__":
    fetch(CloudSource(sys.argv[1], 2, HASTE), Path(sys.argv[2]))
