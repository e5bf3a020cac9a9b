"""One of two processes of `test_sharded_training_goes_on_from_its_checkpoint`; started by it."""

from __future__ import annotations

import sys
from pathlib import Path

import orjson

from biomedica_kedro.clip.config import CheckpointOptions, MachineOptions, ModelOptions, TextLengthOptions
from biomedica_kedro.clip.distributed import world
from biomedica_kedro.clip.log import MemoryLog
from biomedica_kedro.stages import BatchFolder
from tests.clip.small_corpus import SmallCorpus
from tests.clip.test_train import OPTIONS, trainer


def main(corpus: Path, folder: Path) -> None:
    """Train four steps, then once more from the checkpoint that was left after the second; tell both histories.

    Then without shares of weights and with the padding of the texts: what was learned must not depend on either.
    """
    metadata = BatchFolder(corpus / "dataset_metadata")
    small = SmallCorpus(metadata.table(), BatchFolder(corpus / "dataset_shards"), metadata)
    changes = {
        "steps": 4, "average_decay": None, "machine": MachineOptions(processes=2, shard_weights=True),
        "checkpoints": CheckpointOptions(every=2, validate_every=2),
        "model": ModelOptions(context_length=48), "text_length": TextLengthOptions(variable=True),
    }  # fmt: skip
    with world() as processes:
        job = trainer(small, folder / f"rank{processes.rank}", OPTIONS.model_copy(update=changes))
        job.world, job.scratch = processes, folder
        whole = job.run().history
        job.log = MemoryLog()
        resumed = job.run().history
        steps = [step for step, _ in job.log.metrics]
        plain = {"machine": MachineOptions(processes=2), "text_length": TextLengthOptions()}
        other = trainer(small, folder / f"plain{processes.rank}", job.options.model_copy(update=plain))
        other.world = processes
        found = {"whole": whole, "resumed": resumed, "steps": steps, "plain": other.run().history}
        if processes.is_main:
            (folder / "histories.json").write_bytes(orjson.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
