"""Fixtures for the whole suite: real data where it is at hand, and running a node in a folder of its own."""

from __future__ import annotations

import contextlib
import os
import random
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from engine import run_node
from selenium import webdriver
from selenium.webdriver.remote.webdriver import WebDriver
from xdist.scheduler import LoadScopeScheduling

PROJECT = Path(__file__).resolve().parents[1]
PORTS = range(20_000, 32_000)  # kedro-viz refuses ports above 49151


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Real articles, figures and labeled images; tests that ask for them are skipped where they are absent."""
    folder = Path(os.environ.get("BIOMEDICA_REAL_DATA", PROJECT.parent / "shared" / "data"))
    if not folder.is_dir():
        pytest.skip("real data are not at hand (set BIOMEDICA_REAL_DATA)")
    return folder


@pytest.fixture(name="run_node")
def run_node_below_tmp_path(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """`engine.run_node` with outputs below tmp_path, unless another root is given."""

    def run(name: str, root: Path = tmp_path, **given: Any) -> dict[str, Any]:
        return run_node(name, root, **given)

    return run


@pytest.fixture
def browser() -> Iterator[WebDriver]:
    """Debian's chromium without a screen; the test is skipped where there is none."""
    binary, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if binary is None or driver is None:
        pytest.skip("no browser: apt-get install chromium chromium-driver")
    options = webdriver.ChromeOptions()
    options.binary_location = binary
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking"):
        options.add_argument(f"--{flag}")
    options.add_argument("--window-size=1600,1000")
    chrome = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield chrome
    chrome.quit()


def is_free(port: int) -> bool:
    """Whether nothing listens on a loopback port."""
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) != 0


@pytest.fixture(scope="module")
def serve() -> Iterator[Callable[..., str]]:
    """Start a server on a free loopback port, wait until it answers, and stop it with its children at the end."""
    started: list[subprocess.Popen[bytes]] = []

    def start(*command: str, cwd: Path, path: str = "/", seconds: float = 300) -> str:
        port = next(port for port in random.sample(PORTS, 100) if is_free(port))
        arguments = [argument.replace("{port}", str(port)) for argument in command]
        process = subprocess.Popen(arguments, cwd=cwd, start_new_session=True, stdout=subprocess.DEVNULL)
        started.append(process)
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline and process.poll() is None:
            try:
                with urllib.request.urlopen(url + path, timeout=5):
                    return url
            except OSError:
                time.sleep(0.3)
        raise TimeoutError(f"{' '.join(arguments)} did not answer at {url} within {seconds:.0f} s")

    yield start
    for process in started:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


OF_NO_FINISHED_RUN = ("test_object_store", "test_scale_guide")  # of the tests from end to end
SLOW_FIRST = ("tests/end_to_end", "tests/faults", "tests/test_", "tests/clip", "tests/pipelines")  # no long tail


def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> LoadScopeScheduling:
    """Keep what shares costly fixtures in one worker of pytest-xdist, and begin with what takes longest."""
    return ByFile(config, log)


class ByFile(LoadScopeScheduling):
    """A file at a time, and all that looks at the default run together: it is made once."""

    def _split_scope(self, nodeid: str) -> str:
        path = nodeid.partition("::")[0]
        looks_at_it = "end_to_end/" in path and not any(name in path for name in OF_NO_FINISHED_RUN)
        return "end_to_end" if looks_at_it else path


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "end_to_end/" in item.nodeid:  # whole runs, on a machine that may be busy
            item.add_marker(pytest.mark.timeout(1800))
    items.sort(key=lambda item: next((i for i, name in enumerate(SLOW_FIRST) if name in item.nodeid), len(SLOW_FIRST)))


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(config, "workerinput"):
        config.pluginmanager.register(FailuresAtOnce(config))


class FailuresAtOnce:
    """What failed, and how, said when it fails: a run that is ended before its time has told what it found."""

    def __init__(self, config: pytest.Config) -> None:
        self.config = config

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.failed:
            terminal = self.config.pluginmanager.get_plugin("terminalreporter")
            terminal.write_line(f"\n{report.nodeid} ({report.when})\n{report.longreprtext}")
