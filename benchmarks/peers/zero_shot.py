"""One arm of evaluation.py, run by that arm's own Python: a whole zero-shot evaluation of one task, again and again.

    PYTHON zero_shot.py ARM FOLDER THREADS

Answers each line on its standard input with a line of JSON: wall and CPU seconds (children included), accuracy and
balanced accuracy. The model is loaded once, before the first line. `ours` gives every metric with its interval under
three prompt sets; `clip-benchmark` is LAION's command line, its own loader, templates and metrics, in full precision.
"""

from __future__ import annotations

import contextlib
import io
import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path

PROMPT_SET = "ensemble"


def main() -> None:
    """Serve evaluations until the input ends."""
    arm, folder, threads = sys.argv[1], Path(sys.argv[2]), int(sys.argv[3])
    import torch

    torch.set_num_threads(threads)
    evaluate = {"ours": ours, "clip-benchmark": clip_benchmark}[arm](folder, threads)
    print("ready", flush=True)
    while sys.stdin.readline():
        wall, cpu = time.perf_counter(), cpu_seconds()
        with contextlib.redirect_stdout(io.StringIO()), contextlib.redirect_stderr(io.StringIO()):
            accuracy, balanced = evaluate()
        answer = {"wall": time.perf_counter() - wall, "cpu": cpu_seconds() - cpu}
        print(json.dumps({**answer, "accuracy": accuracy, "balanced": balanced}), flush=True)


def cpu_seconds() -> float:
    """Of this process and of its children that have ended."""
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(each.ru_utime + each.ru_stime for each in used)


def ours(folder: Path, threads: int) -> Callable[[], tuple[float, float]]:
    """From the rows of the interchange form to every score with its interval."""
    from biomedica_kedro.benchmark.classification import classification_rows
    from biomedica_kedro.benchmark.encode import EmbedOptions, embed_task, read_embeddings
    from biomedica_kedro.benchmark.samples import TaskSamples
    from biomedica_kedro.benchmark.scores import ScoreOptions, Subject
    from biomedica_kedro.benchmark.task import read_task
    from biomedica_kedro.clip.checkpoints import load_model
    from biomedica_kedro.encoders import OpenClipEncoder

    encoder = OpenClipEncoder(*load_model(folder / "model" / "all.safetensors"))
    task, samples = read_task(folder / "figures.yml"), TaskSamples(folder / "figures")
    subject = Subject(model_id="m", task=task.id, domain=task.domain, synthetic=True, dataset_digest="", seed=0)

    def evaluate() -> tuple[float, float]:
        images, anchors, _ = embed_task(task, samples, encoder, EmbedOptions(threads=threads))
        rows, _ = classification_rows(
            task, read_embeddings(images, anchors), subject, ScoreOptions(prompt_set=PROMPT_SET)
        )
        scores = {
            row["metric"]: row["value"]
            for row in rows
            if (row["protocol"], row["prompt_set"], row["detail"]) == ("zero_shot", PROMPT_SET, "")
        }
        return scores["accuracy"], scores["balanced_accuracy"]

    return evaluate


def clip_benchmark(folder: Path, threads: int) -> Callable[[], tuple[float, float]]:
    """`clip_benchmark eval --dataset wds/figures`, with the model kept between evaluations."""
    from clip_benchmark import cli

    weights, output = folder / "hub" / "open_clip_model.safetensors", folder / "clip_benchmark.json"
    sys.argv = [
        "clip_benchmark", "eval", "--dataset=wds/figures", f"--dataset_root={folder / 'wds'}", "--split=test",
        f"--model=local-dir:{folder / 'hub'}", f"--pretrained={weights}", f"--output={output}", "--no_amp",
        f"--num_workers={0 if threads == 1 else 4}", "--task=zeroshot_classification",
    ]  # fmt: skip
    _, arguments = cli.get_parser_args()
    loaded = cli.load_clip(
        model_type="open_clip", model_name=arguments.model[0], pretrained=arguments.pretrained[0], cache_dir=None,
        device="cpu",
    )  # fmt: skip
    cli.load_clip = lambda **_: loaded

    def evaluate() -> tuple[float, float]:
        cli.main_eval(arguments)
        found = json.loads(output.read_text())["metrics"]
        return found["acc1"], found["mean_per_class_recall"]

    return evaluate


if __name__ == "__main__":
    main()
