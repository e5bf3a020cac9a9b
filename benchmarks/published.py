"""Claim: a model is trained and measured on shards that somebody else published, without a byte of them on the disk.

    python benchmarks/published.py [--samples 20000] [--steps 40]

A process of its own makes shards in the published layout (webdataset's TarWriter, 10,000 samples a shard) in memory and
serves them over HTTP on the loopback. `kedro run --env=published --pipelines=modeling,evaluation` is then given their
address and an empty folder for its data, for temporary files and for the caches of its libraries. Every file that is
there at its end, and all that a thread saw come and go every half second, is asserted to be no tar: neither by its name
nor by the magic at byte 257. What MLflow was told is the result.
"""

from __future__ import annotations

import argparse
import http.server
import os
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PER_SHARD = 10_000
_TAR_MAGIC = 257


def serve(n_samples: int) -> None:
    """Make the shards, print the server's address, and serve until killed; counts of requests and bytes at /told."""
    sys.path.insert(0, str(PROJECT))
    from tests.shards.published_layout import shards

    answers = {f"/{name}": content for name, content in shards(n_samples, PER_SHARD)}
    sent = {"requests": 0, "bytes": 0}

    class Handler(http.server.BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            """Nothing."""

        def do_GET(self) -> None:
            """A shard from a byte on, or the counts."""
            content = answers.get(self.path, f"{len(answers)} {sent['requests']} {sent['bytes']}".encode())
            start = int(self.headers.get("Range", "bytes=0-").removeprefix("bytes=").rstrip("-"))
            self.send_response(206 if start else 200)
            if start:
                self.send_header("Content-Range", f"bytes {start}-{len(content) - 1}/{len(content)}")
            self.send_header("Content-Length", str(len(content) - start))
            self.end_headers()
            sent["requests"] += 1
            for first in range(start, len(content), 1 << 16):
                try:
                    self.wfile.write(content[first : first + (1 << 16)])
                except OSError:
                    return
                sent["bytes"] += min(1 << 16, len(content) - first)

    class Server(http.server.ThreadingHTTPServer):
        def handle_error(self, *_: object) -> None:
            """A reader that stops in the middle of a shard is no error."""

    server = Server(("127.0.0.1", 0), Handler)
    print(f"http://127.0.0.1:{server.server_port} {sum(map(len, answers.values()))}", flush=True)
    server.serve_forever()


class Watch(threading.Thread):
    """Looks for tars among the files below a folder until told to stop."""

    def __init__(self, root: Path) -> None:
        super().__init__(daemon=True)
        self.root, self.found, self.looks, self.stopped = root, set[str](), 0, threading.Event()

    def run(self) -> None:
        """Look every half second, and once more at the end."""
        while not self.stopped.wait(0.5):
            self.look()
        self.look()

    def look(self) -> None:
        """Look once."""
        self.looks += 1
        for folder, _, names in os.walk(self.root):
            self.found |= {f"{folder}/{name}" for name in names if is_tar(Path(folder, name))}


def is_tar(path: Path) -> bool:
    """By its name, or by its content."""
    if ".tar" in path.name or path.name.endswith(".shard"):
        return True
    try:
        with path.open("rb") as file:
            file.seek(_TAR_MAGIC)
            return file.read(5) == b"ustar"
    except OSError:
        return False


def kedro_run(root: Path, url: str, n_shards: int, steps: int) -> float:
    """Train and evaluate; wall seconds."""
    settings = {
        "data_root": root / "data", "shards": f"{url}/{{000000..{n_shards - 1:06d}}}.tar",
        "modeling.train_clip.steps": steps, "modeling.train_clip.checkpoints.validate_every": max(1, steps // 2),
        "modeling.train_clip.batch_size": 64, "modeling.train_clip.threads": 1,
        "modeling.train_clip.feed.workers": 0,
        "modeling.select_training_samples.recipe": "concept_balanced",
    }  # fmt: skip
    given = ",".join(f"{name}={value}" for name, value in settings.items())
    command = [sys.executable, "-m", "kedro", "run", "--env=published", "--pipelines=modeling,evaluation"]
    (root / "tmp").mkdir()
    environment = {
        **os.environ, "TMPDIR": str(root / "tmp"),
        "XDG_CACHE_HOME": str(root / "cache"), "HF_HOME": str(root / "cache" / "hf"),
    }  # fmt: skip
    started = time.perf_counter()
    subprocess.run([*command, f"--params={given}"], cwd=PROJECT, env=environment, check=True)
    return time.perf_counter() - started


def told() -> dict[str, str]:
    """What the project's MLflow says of the training that began last."""
    from mlflow import MlflowClient

    client = MlflowClient(f"sqlite:///{PROJECT}/data/mlflow.db")
    experiment = client.get_experiment_by_name("biomedica/train").experiment_id
    (run,) = client.search_runs([experiment], order_by=["attributes.start_time DESC"], max_results=1)
    waits = [metric.value for metric in client.get_metric_history(run.info.run_id, "feed/wait_fraction")]
    shown = {name: value for name, value in run.data.params.items() if name.startswith("source.")}
    counted = ("feed/read", "feed/left_out", "feed/rejected", "feed/seen")
    shown |= {name: f"{value:,.0f}" for name, value in sorted(run.data.metrics.items()) if name.startswith(counted)}
    shown["share of the time waiting for data, mean of the steps"] = f"{sum(waits) / len(waits):.0%}"
    shown["loss, first and last step"] = " and ".join(
        f"{client.get_metric_history(run.info.run_id, 'loss')[place].value:.2f}" for place in (0, -1)
    )
    return shown


def main() -> None:
    """Run, assert, and write benchmarks/results/published.{md,json}."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--samples", type=int, default=20_000)
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--serve", action="store_true", help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.serve:
        serve(options.samples)
        return
    from report import machine, write_result

    root = Path(tempfile.mkdtemp(prefix="biomedica-published-"))
    server = subprocess.Popen(
        [sys.executable, __file__, "--serve", "--samples", str(options.samples)], stdout=subprocess.PIPE, text=True
    )
    watch = Watch(root)
    try:
        url, n_bytes = server.stdout.readline().split()
        watch.start()
        seconds = kedro_run(root, url, -(-options.samples // PER_SHARD), options.steps)
        watch.stopped.set()
        watch.join()
        assert not watch.found, f"shards on the disk: {sorted(watch.found)[:5]}"
        rows = {"shards on the disk": f"0 ({watch.looks} looks at every file)", **told()}
        rows["bytes on the disk at the end"] = f"{sum(p.stat().st_size for p in root.rglob('*') if p.is_file()):,}"
        rows["wall seconds of the command"] = f"{seconds:.0f}"
    finally:
        server.terminate()
        shutil.rmtree(root, ignore_errors=True)
    described = (
        f"`python benchmarks/published.py --samples {options.samples} --steps {options.steps}`, {machine()}; "
        f"{options.samples:,} samples, {int(n_bytes):,} bytes in memory of the server."
    )
    write_result(
        "published", "Training on published shards as they stream by", described,
        [{"what": name, "value": value} for name, value in rows.items()],
    )  # fmt: skip


if __name__ == "__main__":
    main()
