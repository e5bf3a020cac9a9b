"""Run the benchmarks one after the other; each writes its result to benchmarks/results/.

    python benchmarks/run.py                 # all of them
    python benchmarks/run.py extraction      # some of them

Run on a quiet machine: each compares us with peers in the same run and reports ratios, but contention widens them.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent


def main() -> int:
    """Run the chosen scripts; returns how many failed."""
    scripts = {path.stem: path for path in sorted(HERE.glob("*.py")) if _is_benchmark(path)}
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("names", nargs="*", choices=[[], *scripts], default=[], metavar="NAME", help=", ".join(scripts))
    failed = []
    for name in parser.parse_args().names or scripts:
        print(f"== {name}", flush=True)
        started = time.perf_counter()
        if subprocess.run([sys.executable, str(scripts[name])], check=False).returncode:
            failed.append(name)
        print(f"== {name}: {time.perf_counter() - started:.0f} s", flush=True)
    if failed:
        print(f"failed: {', '.join(failed)}")
    return len(failed)


def _is_benchmark(path: Path) -> bool:
    return path != Path(__file__).resolve() and '__name__ == "__main__"' in path.read_text()


if __name__ == "__main__":
    raise SystemExit(main())
