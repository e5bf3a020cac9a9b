"""Claims: zero-shot evaluation at twice the speed of LAION's clip-benchmark; metrics from cached vectors in seconds.

    python benchmarks/evaluation.py [--images FOLDER] [--checkpoint FILE] [--peers FOLDER] [--rounds 5]

First the whole zero-shot evaluation of one task, from image bytes to scores, beside the PyPI package clip-benchmark:
the same open_clip model, the same images, class names and templates, the rounds interleaved. The script makes a virtual
environment for the package. Without `--images` (one folder a class) figures of 20 kinds are drawn, 512 to 896 pixels
wide, once as JPEG and once as PNG; without `--checkpoint` the model has random weights.
Beside the ratio stands the greatest that the same run allows: clip-benchmark's CPU time over that of unpacking the
images (inflating, or entropy decoding) and of the model's step, which both sides do (peers/evaluation_bound.py).
Then the steps that follow the embedding, on random vectors at the sizes of the paper's tasks, and the publication of 40
tasks of 3 models; peak memory is that of each step's own process.
Writes benchmarks/results/evaluation.{json,md}.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import platform
import subprocess
import sys
import tarfile
import tempfile
from datetime import date
from multiprocessing import get_context
from pathlib import Path
from statistics import median

import numpy as np
import orjson
import torch
import yaml

from biomedica_corpus.classes import CLASSES
from biomedica_kedro.benchmark.row_writer import RowWriter
from biomedica_kedro.benchmark.samples import ROWS, SAMPLES
from biomedica_kedro.clip.checkpoints import BaseModel, config_of, create, save_model
from biomedica_kedro.clip.config import ModelOptions
from biomedica_kedro.clip.open_clip_folder import export_to_hub_folder

HERE = Path(__file__).resolve().parent
# The package needs requests without naming it, and takes float() of arrays, which newer NumPy refuses.
PEER = ["clip-benchmark==1.6.2", "open_clip_torch==3.3.0", "requests", "numpy<2.3"]
TEMPLATES = ("A figure of {}.", "A picture that shows {}.", "An example of {} from an article.")
SHARDS = 4
DRAWN = 4  # figures a class
PARTS = ("unpacking", "decoding", "preparing", "model")
STEPS = ("retrieval", "interval", "interval_by_rows", "metrics", "publication")


def main() -> None:
    """Measure and write the results."""
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--images", type=Path, help="one folder a class, named as the class")
    arguments.add_argument("--checkpoint", type=Path, help="a trained model's safetensors file, its JSON beside it")
    arguments.add_argument("--peers", type=Path, help="folder of the package's environment; made when absent")
    arguments.add_argument("--samples", type=int, default=1200)
    arguments.add_argument("--rounds", type=int, default=5)
    given = arguments.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        python = environment((given.peers or folder / "peers") / "clip-benchmark")
        pythons = {"ours": sys.executable, "ours again": sys.executable, "clip-benchmark": python}
        tasks = [
            evaluated(folder / kind, kind, pythons, given)
            for kind in (("JPEG", "PNG") if not given.images else ("files",))
        ]
        steps = [measured(step) for step in STEPS]
    write_results({"tasks": tasks, "steps": steps, "rounds": given.rounds})


def evaluated(folder: Path, kind: str, pythons: dict[str, str], given: argparse.Namespace) -> dict[str, object]:
    """One task under both programs, on one thread and on all cores."""
    folder.mkdir()
    write_model(folder, given.checkpoint)
    facts = write_task(folder, kind, given.images, given.samples)
    threads = dict.fromkeys((1, os.cpu_count() or 1))
    return {
        **facts,
        "bound": bound(folder),
        "arms": {str(n): interleave(pythons, folder, n, given.rounds) for n in threads},
    }


def bound(folder: Path) -> dict[str, float]:
    """CPU milliseconds an image of each part of our way, and of unpacking alone."""
    command = [sys.executable, "-P", str(HERE / "peers" / "evaluation_bound.py"), str(folder)]
    variables = {**os.environ, "OMP_NUM_THREADS": "1"}
    return json.loads(subprocess.run(command, env=variables, check=True, stdout=subprocess.PIPE).stdout)


def write_model(folder: Path, checkpoint: Path | None) -> None:
    """The model twice: as the project keeps it, and as open_clip loads it."""
    weights = folder / "model" / "all.safetensors"
    weights.parent.mkdir()
    if checkpoint is None:
        torch.manual_seed(0)
        config = config_of(BaseModel("biomedica-tiny"), ModelOptions(resize_mode="shortest", fill_color=0))
        save_model(weights, create(config).state_dict())
        weights.with_suffix(".json").write_bytes(orjson.dumps(config))
    else:
        weights.write_bytes(checkpoint.read_bytes())
        weights.with_suffix(".json").write_bytes(checkpoint.with_suffix(".json").read_bytes())
    export_to_hub_folder(weights, folder / "hub", card="")


def write_task(folder: Path, kind: str, images: Path | None, n_samples: int) -> dict[str, object]:
    """The task for both sides: rows of the interchange form and a task file; shards, class names and templates."""
    words = {kind.kind.id: kind.kind.noun for kind in CLASSES}
    by_class = photographs(images) if images else drawings(kind)
    names = list(by_class)
    rows = [
        {"sample_id": f"s{at:05d}", "image": content, "label": names.index(name), "label_name": name}
        for at, (name, content) in enumerate(cycled(by_class, n_samples))
    ]
    with RowWriter(folder / "figures" / ROWS, SAMPLES, "zstd") as writer:  # as `prepare` writes them
        for row in rows:
            writer.add(row)
    classes = [{"name": name, "text": words.get(name, name.replace("_", " "))} for name in names]
    task = {
        "id": "figures", "title": "Figures", "domain": "speed", "modality": "figure", "kind": "multiclass",
        "wording": "verified", "source": {"url": "local", "license": "none", "access": "embedded"}, "classes": classes,
        "templates": {"ensemble": list(TEMPLATES)},
    }  # fmt: skip
    (folder / "figures.yml").write_text(yaml.safe_dump(task))
    test = folder / "wds" / "test"
    test.mkdir(parents=True)
    for shard in range(SHARDS):
        write_tar(test / f"{shard}.tar", rows[shard::SHARDS])
    (test / "nshards.txt").write_text(str(SHARDS))
    (test.parent / "classnames.txt").write_text("\n".join(each["text"] for each in classes))
    templates = "\n".join(template.replace("{}", "{c}") for template in TEMPLATES)
    (test.parent / "zeroshot_classification_templates.txt").write_text(templates)
    sizes = [len(row["image"]) for row in rows]
    return {
        "samples": len(rows), "classes": len(names), "kilobytes": round(float(np.mean(sizes)) / 1000, 1),
        "images": kind,
    }  # fmt: skip


def drawings(file_format: str) -> dict[str, list[bytes]]:
    """Figures of every kind of the embedded corpus, 512 to 896 pixels wide."""
    drawn: dict[str, list[bytes]] = {}
    for at, kind in enumerate(CLASSES):
        for number in range(DRAWN):
            rng = np.random.default_rng([at, number])
            width = int(rng.integers(512, 897))
            picture = kind.sample(rng).paint(rng, width, round(width / kind.kind.aspect))
            sink = io.BytesIO()
            picture.save(sink, file_format, **({"quality": 88} if file_format == "JPEG" else {}))
            drawn.setdefault(kind.kind.id, []).append(sink.getvalue())
    return drawn


def photographs(folder: Path) -> dict[str, list[bytes]]:
    """Files of a folder a class."""
    classes = sorted(path for path in folder.iterdir() if path.is_dir())
    return {path.name: [file.read_bytes() for file in sorted(path.iterdir())] for path in classes}


def cycled(by_class: dict[str, list[bytes]], n_samples: int) -> list[tuple[str, bytes]]:
    """As many samples as wanted, class after class in turn; images come again when there are too few."""
    names = list(by_class)
    turns = [(names[at % len(names)], at // len(names)) for at in range(n_samples)]
    return [(name, by_class[name][turn % len(by_class[name])]) for name, turn in turns]


def write_tar(path: Path, rows: list[dict[str, object]]) -> None:
    """A shard as clip-benchmark reads it."""
    with tarfile.open(path, "w") as tar:
        for row in rows:
            content = bytes(row["image"])
            kind = "png" if content.startswith(b"\x89PNG") else "jpg"
            for extension, member in ((kind, content), ("cls", str(row["label"]).encode())):
                entry = tarfile.TarInfo(f"{row['sample_id']}.{extension}")
                entry.size = len(member)
                tar.addfile(entry, io.BytesIO(member))


def environment(folder: Path) -> str:
    """Python of the package's own environment."""
    python = folder / "bin" / "python"
    if not python.exists():
        uv = [sys.executable, "-m", "uv"]
        subprocess.run([*uv, "venv", "--quiet", str(folder)], check=True)
        needed = [*PEER, f"torch=={torch.__version__.partition('+')[0]}"]
        subprocess.run([*uv, "pip", "install", "--quiet", "--python", str(python), *needed], check=True)
    return str(python)


def interleave(pythons: dict[str, str], folder: Path, threads: int, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Answers of every arm, round by round; the first round warms up and is not counted."""
    variables = {**os.environ, "OMP_NUM_THREADS": str(threads), "TOKENIZERS_PARALLELISM": "false"}
    arms = {
        name: subprocess.Popen(
            [python, "-P", str(HERE / "peers" / "zero_shot.py"), name.partition(" ")[0], str(folder), str(threads)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=variables,
        )
        for name, python in pythons.items()
    }  # fmt: skip
    for arm in arms.values():
        while arm.stdout.readline().strip() != "ready":
            if arm.poll() is not None:
                raise SystemExit("an arm ended before it was ready")
    answers: dict[str, list[dict[str, float]]] = {name: [] for name in arms}
    for number in range(rounds + 1):
        order = list(arms)[number % len(arms) :] + list(arms)[: number % len(arms)]
        for name in order:
            arms[name].stdin.write("go\n")
            arms[name].stdin.flush()
            answer = json.loads(arms[name].stdout.readline())
            answers[name] += [answer] if number else []
    for arm in arms.values():
        arm.stdin.close()
        arm.wait()
    return answers


def measured(step: str) -> dict[str, object]:
    """CPU and wall seconds, and the growth of memory to its peak, of a step in a process of its own."""
    import peers.benchmark_steps

    os.environ["OMP_NUM_THREADS"] = "1"
    with get_context("spawn").Pool(1) as pool:
        return pool.apply(peers.benchmark_steps.measure, (step,))


def write_results(record: dict) -> None:
    """JSON with every answer, Markdown with the medians."""
    lines = [
        f"Whole zero-shot evaluation of one task, {date.today()}, {platform.machine()}, {os.cpu_count()} cores; "
        f"{record['rounds']} interleaved rounds, medians; the same model, images, class names and {len(TEMPLATES)} "
        "templates. `ours` computes all metrics with intervals under three prompt sets, clip-benchmark accuracy and "
        "mean recall under one. A ratio is clip-benchmark's time over ours; `at most` is over "
        "unpacking the images and the model's step alone.",
        "",
        "| images | threads | arm | images/s | per CPU second | ratio, wall | ratio, CPU | CPU, at most | accuracy "
        "| balanced |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for task in record["tasks"]:
        label = f"{task['samples']} {task['images']}, {task['kilobytes']} kB, {task['classes']} classes"
        for threads, answers in task["arms"].items():
            lines += [f"| {label} | {threads} | {line} |" for line in arm_lines(answers, task)]
    lines += [
        "",
        "| images, CPU ms an image | unpacking alone | decoding | preparing | model |",
        "|---|---|---|---|---|",
    ]
    lines += [
        f"| {task['images']} | " + " | ".join(f"{task['bound'][part]:.2f}" for part in PARTS) + " |"
        for task in record["tasks"]
    ]
    lines += ["", "| step, 1 thread | CPU s | wall s | memory it takes, MB |", "|---|---|---|---|"]
    lines += [
        f"| {step['step']} | {step['cpu']:.2f} | {step['wall']:.2f} | {step['megabytes']:.0f} |"
        for step in record["steps"]
    ]
    print("\n".join(lines))
    results = HERE / "results"
    (results / "evaluation.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
    machine = {"date": date.today().isoformat(), "machine": f"{platform.machine()}, {os.cpu_count()} cores"}
    (results / "evaluation.json").write_text(json.dumps({**machine, **record}, indent=2) + "\n", encoding="utf-8")


def arm_lines(answers: dict[str, list[dict[str, float]]], task: dict) -> list[str]:
    """Cells of each arm: its speed, how much longer the package took in the same round, and could take at most."""
    lines, n = [], task["samples"]
    least = n * (task["bound"]["unpacking"] + task["bound"]["model"]) / 1000
    most = median(answer["cpu"] for answer in answers["clip-benchmark"]) / least
    for name, own in answers.items():
        wall, cpu = (median(answer[kind] for answer in own) for kind in ("wall", "cpu"))
        ratios = [
            median(theirs[kind] / answer[kind] for theirs, answer in zip(answers["clip-benchmark"], own, strict=True))
            for kind in ("wall", "cpu")
        ]
        lines.append(
            f"{name} | {n / wall:.0f} | {n / cpu:.0f} | {ratios[0]:.2f} | {ratios[1]:.2f} | {most:.2f} "
            f"| {own[0]['accuracy']:.4f} | {own[0]['balanced']:.4f}"
        )
    return lines


if __name__ == "__main__":
    main()
