"""Two processes started by torchrun learn what one learns, and what they report arrives."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from biomedica_kedro.benchmark.samples import SampleStore
from biomedica_kedro.clip.config import CheckpointOptions, MachineOptions, OptimizerOptions, TrainOptions
from biomedica_kedro.clip.launch import LaunchError, command
from biomedica_kedro.clip.log import MemoryLog
from tests.clip.small_corpus import small_vit

OPTIONS = TrainOptions(
    steps=4,
    batch_size=16,
    threads=1,
    optimizer=OptimizerOptions(warmup_steps=2),
    checkpoints=CheckpointOptions(every=2, validate_every=2),
)


@pytest.mark.parametrize(("shard_weights", "accumulate"), [(False, 1), (True, 1), (True, 2)])
def test_two_processes_learn_what_one_learns(small_corpus, run_node, tmp_path, monkeypatch, shard_weights, accumulate):
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    selected = run_node("select_training_samples", dataset_metadata=small_corpus.metadata_folder)
    chosen = {name: selected[name] for name in ("training_manifest", "training_sources")}

    def train(machine: MachineOptions) -> tuple[list[float], list[float], MemoryLog]:
        log = MemoryLog()
        options = OPTIONS.model_copy(update={"machine": machine, "accumulate": accumulate})
        made = run_node(
            "train_clip", tmp_path / str(machine.processes), options={"train_clip": options}, training_log=log,
            benchmark_tasks={}, benchmark_samples=SampleStore(()), article_source=SimpleNamespace(origin="packages"),
            **chosen, dataset_shards=small_corpus.shards, base_clip_model=small_vit(tmp_path),
        )  # fmt: skip
        history = made["training_history"].table()
        return history["loss"].to_pylist(), history["validation/image_to_text_R_at_10"].to_pylist(), log

    alone, together = train(MachineOptions()), train(MachineOptions(processes=2, shard_weights=shard_weights))
    assert together[0] == pytest.approx(alone[0], rel=1e-5)
    assert together[1] == pytest.approx(alone[1])
    assert together[2].status == "FINISHED"
    assert [step for step, _ in together[2].metrics] == list(range(4))
    assert together[2].artifacts == alone[2].artifacts


def test_several_machines_need_a_meeting_point(tmp_path):
    with pytest.raises(LaunchError, match="host:port"):
        command(tmp_path / "job.json", MachineOptions(nodes=2), node=0)
    parts = command(tmp_path / "job.json", MachineOptions(nodes=2, processes=4, rendezvous="node0:29500"), node=1)
    assert {"--nnodes=2", "--node-rank=1", "--master-addr=node0", "--nproc-per-node=4"} <= set(parts)
