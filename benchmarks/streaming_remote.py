"""Claim: decoded samples from a server, at 0 and 5 ms and through faults, at least twice as fast as every peer.

    python benchmarks/streaming_remote.py [--samples 1600] [--shards 32] [--rounds 3] [--arms ours,open_clip,...]

As `streaming.py`, whose arms, environments and pixels these are, but every arm reads from one loopback server
(`static_server.py`), from the start of its shards to their end: ours, open_clip's loader of webdataset and HF datasets
over HTTP, mosaicml-streaming and litdata by their S3 clients. Each arm runs on three servers: at
once, after 5 ms, and after 5 ms with every tenth answer a fault (503, or a body that breaks off). An arm that cannot go
on is told with its error, one that loses samples with their number. Nothing is kept between epochs. Memory is the peak
resident size of the largest worker, libraries included.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import gc
import importlib.util
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

HERE = Path(__file__).resolve().parent
# Under a name of its own: a peer's package is called `streaming`, too.
_SPEC = importlib.util.spec_from_file_location("local_streaming", HERE / "streaming.py")
streaming = importlib.util.module_from_spec(_SPEC)
_SPEC.loader.exec_module(streaming)
BATCH, PEERS, WARM_BATCHES, WORKERS = streaming.BATCH, streaming.PEERS, streaming.WARM_BATCHES, streaming.WORKERS

PATIENCE = 45  # seconds for an epoch
STALLED = {"rate": 0.0, "cpu": 0.0, "samples": 0, "megabytes": 0.0, "error": f"no end after {PATIENCE} s"}
SERVERS = {"at once": ("0", "0"), "5 ms": ("0.005", "0"), "5 ms, 10 % faults": ("0.005", "10")}


def shard_urls(root: Path, url: str) -> list[str]:
    """Addresses of the tars."""
    return [f"{url}/shards/{path.name}" for path in sorted((root / "shards").glob("*.tar"))]


def batches_ours(root: Path, url: str) -> Iterator[tuple[list[str], object]]:
    """As in `streaming`, read sequentially."""
    import torch
    from torch.utils.data import DataLoader

    from biomedica_kedro.clip.images import normalize
    from biomedica_kedro.shards.sources import Source, StreamOptions
    from biomedica_kedro.shards.stream import stream
    from biomedica_kedro.shards.torch_dataset import ShardDataset

    transform = streaming.DecodeOurs()
    options = StreamOptions(lanes=4, window=32)
    chosen = stream(Source(url=shard_urls(root, url)), seed=1, columns=[], options=options)

    def collate(items: list) -> tuple[list[str], object]:
        return [key for key, _ in items], torch.stack([square for _, square in items])

    for keys, squares in DataLoader(ShardDataset(chosen, transform), BATCH, num_workers=WORKERS, collate_fn=collate):
        yield keys, normalize(squares, transform.geometry)


def batches_open_clip(root: Path, url: str) -> Iterator[tuple[list[str], object]]:
    """As in `streaming`; webdataset reads HTTP by curl."""
    yield from streaming.batches_open_clip_of(shard_urls(root, url))


def batches_hf_datasets(root: Path, url: str) -> Iterator[tuple[list[str], object]]:
    """As in `streaming`."""
    yield from streaming.batches_hf_datasets_of(shard_urls(root, url))


def batches_mosaicml(root: Path, url: str) -> Iterator[tuple[list[str], object]]:
    """As in `streaming`, fetched into an empty folder."""
    from streaming.base.util import clean_stale_shared_memory

    clean_stale_shared_memory()  # of an arm that hung
    streaming.write_mosaicml(root)
    with tempfile.TemporaryDirectory(dir=root) as local:
        os.environ |= {"S3_ENDPOINT_URL": url}
        yield from streaming.batches_mosaicml_of(remote="s3://mds", local=local)


def batches_litdata(root: Path, url: str) -> Iterator[tuple[list[str], object]]:
    """As in `streaming`, fetched into an empty folder; its client cannot be told to do without TLS, so is made to."""
    from litdata.streaming import downloader

    downloader._OBSTORE_CLIENT_OPTIONS["allow_http"] = True
    streaming.write_litdata(root)
    with tempfile.TemporaryDirectory(dir=root) as local:
        yield from streaming.batches_litdata_of("s3://lit", cache_dir=local, storage_options={"endpoint_url": url})


def run_arm(name: str, root: Path) -> None:
    """Inside an arm's environment: answer each address on the standard input with an epoch from there."""
    import torch

    torch.set_num_threads(1)
    print("ready", flush=True)
    for url in map(str.strip, sys.stdin):
        print(json.dumps(epoch(functools.partial(globals()[f"batches_{name}"], root, url))), flush=True)


def epoch(batches: functools.partial[Iterator[tuple[list[str], object]]]) -> dict[str, object]:
    """Wall samples a second after the first batches, CPU seconds a sample, memory of a worker, and what went wrong."""
    sizes, started, memory, error = [], time.perf_counter(), 0, ""
    cpu = streaming._cpu_seconds()
    try:
        for keys, _ in batches():
            sizes.append(len(keys))
            memory = max(memory, largest_child())
            if len(sizes) == WARM_BATCHES:
                started = time.perf_counter()
    except Exception as failed:  # each library fails in ways of its own, and that is a result here
        error = f"{type(failed).__name__}: {' '.join(str(failed).split())[:80]}"
    seconds = time.perf_counter() - started
    gc.collect()  # what is left over in the main process counts as its forked workers' memory
    rate = sum(sizes[WARM_BATCHES:]) / seconds
    samples = sum(sizes)
    used = (streaming._cpu_seconds() - cpu) / max(1, samples)
    return {"rate": rate, "cpu": used, "samples": samples, "megabytes": memory / 1e6, "error": error}


def largest_child() -> int:
    """Peak resident bytes of the largest child process."""
    pids = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()
    peaks = [0]
    for pid in pids:
        try:
            status = Path(f"/proc/{pid}/status").read_text()
        except OSError:
            continue
        peaks += [int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM")]
    return max(peaks)


def start_arm(name: str, root: Path, peers: Path) -> subprocess.Popen:
    """A process of the arm's environment."""
    python = Path(sys.executable) if name == "ours" else streaming.environment(name, peers)
    keys = {"AWS_ACCESS_KEY_ID": "k", "AWS_SECRET_ACCESS_KEY": "s", "AWS_DEFAULT_REGION": "us-east-1"}
    with (root / f"{name}.log").open("w") as log:
        arm = subprocess.Popen(
            [python, "-P", __file__, "--arm", name, "--root", root],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, process_group=0,
            # glibc keeps batches of this size in a heap that it then cannot use again, more of it every epoch
            env={**os.environ, "OMP_NUM_THREADS": "1", "WDS_SECURE": "0", "MALLOC_MMAP_THRESHOLD_": "4194304", **keys},
        )  # fmt: skip
    streaming.answer(arm, root / f"{name}.log", "ready")
    return arm


def measure(names: list[str], root: Path, peers: Path, rounds: int) -> dict[tuple[str, str], list[dict]]:
    """What each arm took from each server in each round."""
    arms = {name: start_arm(name, root, peers) for name in names}
    servers, urls = [], {}
    for label, arguments in SERVERS.items():
        command = [sys.executable, HERE / "static_server.py", root, *arguments]
        servers.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        urls[label] = servers[-1].stdout.readline().strip()
    taken: dict[tuple[str, str], list[dict]] = {}
    try:
        for turn in range(rounds):
            for label, url in urls.items():
                for name in names[turn % len(names) :] + names[: turn % len(names)]:
                    print(url, file=arms[name].stdin, flush=True)
                    found = answer_in_time(arms[name], root / f"{name}.log")
                    if found is None:
                        arms[name] = start_arm(name, root, peers)
                    taken.setdefault((label, name), []).append(found or STALLED)
    finally:
        for server in servers:
            server.terminate()
        for arm in arms.values():
            kill(arm)
    return taken


def answer_in_time(arm: subprocess.Popen, log: Path) -> dict | None:
    """What an epoch took; None when the arm hung, and was killed for it."""
    timer = threading.Timer(PATIENCE, kill, [arm])
    timer.start()
    try:
        return json.loads(streaming.answer(arm, log, "{"))
    except SystemExit:
        if timer.is_alive():  # it ended by itself
            raise
        return None
    finally:
        timer.cancel()


def kill(arm: subprocess.Popen) -> None:
    """End an arm and its workers."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(arm.pid, signal.SIGKILL)
    arm.wait()


def rows(taken: dict[tuple[str, str], list[dict]]) -> list[dict[str, object]]:
    """A line for each server and arm; ratios within a round: median [least, most]."""
    import numpy as np

    found = []
    for (label, name), rounds in taken.items():
        ours = taken[label, "ours"]
        well = [(a, b) for a, b in zip(ours, rounds, strict=True) if not b["error"]]
        wall, cpu = [a["rate"] / b["rate"] for a, b in well], [b["cpu"] / a["cpu"] for a, b in well]
        error = next((r["error"] for r in rounds if r["error"]), "")
        n_failed = sum(bool(r["error"]) for r in rounds)
        found.append(
            {
                "server": label, "arm": name,
                "samples": f"{min([b['samples'] for _, b in well], default=0)}",
                "failed": f"{n_failed} of {len(rounds)}: {error}" if error else "",
                "samples/s": f"{np.median([b['rate'] for _, b in well]):.0f}" if well else "",
                "ours is faster by, wall": spread(wall) if well else "",
                "CPU ms a sample": f"{np.median([b['cpu'] for _, b in well]) * 1000:.2f}" if well else "",
                "ours uses less CPU by": spread(cpu) if well else "",
                "MB a worker": f"{max(b['megabytes'] for _, b in well):.0f}" if well else "",
            }
        )  # fmt: skip
    return found


def spread(ratios: list[float]) -> str:
    """Median, least and most."""
    import numpy as np

    return f"{np.median(ratios):.2f} [{min(ratios):.2f}, {max(ratios):.2f}]"


def main() -> None:
    """Measure and write benchmarks/results/streaming_remote.{md,json}."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=1600)
    parser.add_argument("--shards", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--arms", default=",".join(["ours", *PEERS]))
    parser.add_argument("--images", type=Path, help="folder of JPEG files; synthetic ones otherwise")
    parser.add_argument("--peers", type=Path, default=Path.home() / ".cache" / "biomedica-kedro" / "peers")
    parser.add_argument("--arm", help=argparse.SUPPRESS)
    parser.add_argument("--root", type=Path, default=Path("/tmp/biomedica-streaming-remote"), help="scratch folder")
    options = parser.parse_args()
    if options.arm:
        run_arm(options.arm, options.root)
        return
    from pictures import load_images
    from report import machine, write_result

    root, names = options.root, options.arms.split(",")
    shutil.rmtree(root, ignore_errors=True)
    (root / "images").mkdir(parents=True)
    for index, image in enumerate(load_images(options.images, options.samples)):
        (root / "images" / f"i{index:06d}.jpg").write_bytes(image)
    streaming.write_ours(sorted((root / "images").iterdir()), root, options.shards)
    for name in {"mosaicml", "litdata"} & set(names):  # before the servers take the folder into memory
        python = streaming.environment(name, options.peers)
        subprocess.run([python, "-P", HERE / "streaming.py", "--write", name, "--root", root], check=True)
    taken = measure(names, root, options.peers, options.rounds)
    left_out = sorted(set(PEERS) - set(names))
    described = (
        f"`python benchmarks/streaming_remote.py --samples {options.samples} --shards {options.shards} "
        f"--rounds {options.rounds} --arms {options.arms}`, {machine()}; batches of {BATCH}, {WORKERS} workers."
    )
    note = f"Not measured in this run: {', '.join(left_out)}." if left_out else ""
    write_result("streaming_remote", "Streaming from a server: ours and its peers", described, rows(taken), note)
    shutil.rmtree(root)


if __name__ == "__main__":
    main()
