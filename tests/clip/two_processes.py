"""Two processes that train together, as torchrun would start them."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from pathlib import Path


def run_two_processes(worker: Path, *arguments: str | Path) -> list[int]:
    """Run a script as ranks 0 and 1; returns their exit codes."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {
        **os.environ, "WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "OMP_NUM_THREADS": "1",
        "PYTHONPATH": f"{Path(__file__).parents[2]}:{os.environ.get('PYTHONPATH', '')}",
    }  # fmt: skip
    workers = [
        subprocess.Popen([sys.executable, worker, *map(str, arguments)], env={**environment, "RANK": str(rank)})
        for rank in range(2)
    ]
    return [worker.wait(timeout=300) for worker in workers]
