"""A training that stops for ever after its first checkpoint, to be killed by `test_train`; started by it."""

from __future__ import annotations

import sys
import time
from collections.abc import Mapping
from pathlib import Path

from biomedica_kedro.clip.log import MemoryLog
from biomedica_kedro.stages import BatchFolder
from tests.clip.small_corpus import SmallCorpus
from tests.clip.test_train import trainer


class StuckLog(MemoryLog):
    """Takes four steps, so that one lies after the checkpoint, then never returns."""

    def log(self, values: Mapping[str, float], step: int) -> None:
        """Block at step 4."""
        if step == 4:
            time.sleep(3600)


if __name__ == "__main__":
    corpus, folder = Path(sys.argv[1]), Path(sys.argv[2])
    metadata = BatchFolder(corpus / "dataset_metadata")
    trainer(
        SmallCorpus(metadata.table(), BatchFolder(corpus / "dataset_shards"), metadata), folder, log=StuckLog()
    ).run()
