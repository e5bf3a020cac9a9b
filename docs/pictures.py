"""Take the README's screenshots of kedro-viz and MLflow from the results of the last `kedro run`.

    python docs/pictures.py        # needs Debian's chromium and chromium-driver

The pages are served on loopback from this checkout's data.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

PROJECT = Path(__file__).resolve().parents[1]
IMAGES = PROJECT / "docs" / "images"
BIN = Path(sys.executable).parent
_SECONDS = 120


def main() -> None:
    """Serve, look, and save one picture a page."""
    with browser() as chrome:
        viz = ("kedro", "viz", "run", "--no-browser", "--host=127.0.0.1", "--port={port}")
        with serving(*viz, ready="/api/main") as url:
            chrome.get(url)
            wait_for(chrome, ".pipeline-node__text")
            chrome.execute_script("localStorage.clear()")
            dismiss(chrome)
            time.sleep(3)
            chrome.save_screenshot(str(IMAGES / "pipelines.png"))
        store = f"sqlite:///{PROJECT}/data/mlflow.db"
        mlflow = ("mlflow", "server", "--backend-store-uri", store, "--host=127.0.0.1", "--port={port}")
        with serving(*mlflow, ready="/health") as url:
            chrome.get(f"{url}/#/experiments/2/runs")
            run = wait_for(chrome, "a[href*='/runs/']").get_attribute("href")
            chrome.get(f"{run}/model-metrics")
            wait_for(chrome, ".js-plotly-plot")
            time.sleep(5)
            chrome.save_screenshot(str(IMAGES / "training.png"))
            chrome.get(f"{url}/#/experiments/3/runs")
            run = wait_for(chrome, "a[href*='/runs/']").get_attribute("href")
            chrome.get(run)
            time.sleep(5)
            chrome.save_screenshot(str(IMAGES / "benchmark.png"))


@contextmanager
def browser() -> Iterator[WebDriver]:
    """A chromium without a screen."""
    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for flag in ("headless=new", "no-sandbox", "disable-gpu", "no-first-run", "disable-background-networking"):
        options.add_argument(f"--{flag}")
    options.add_argument("--window-size=1600,1000")
    chrome = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield chrome
    finally:
        chrome.quit()


@contextmanager
def serving(*command: str, ready: str) -> Iterator[str]:
    """Run a server of `.venv` on a free port until the block ends."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    arguments = [str(BIN / command[0]), *(part.replace("{port}", str(port)) for part in command[1:])]
    process = subprocess.Popen(arguments, cwd=PROJECT, start_new_session=True)
    url = f"http://127.0.0.1:{port}"
    try:
        deadline = time.monotonic() + _SECONDS
        while time.monotonic() < deadline:
            try:
                urllib.request.urlopen(url + ready, timeout=5).close()
                break
            except OSError:
                time.sleep(0.5)
        yield url
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(chrome: WebDriver, selector: str) -> WebElement:
    """The first element that matches, once there is one."""
    return WebDriverWait(chrome, _SECONDS).until(lambda b: b.find_elements(By.CSS_SELECTOR, selector))[0]


def dismiss(chrome: WebDriver) -> None:
    """Close kedro-viz's banner and tour, which cover the graph on a first visit."""
    for selector in (".update-reminder-unexpanded__buttons-container button", ".shareable-url-modal button"):
        for button in chrome.find_elements(By.CSS_SELECTOR, selector):
            chrome.execute_script("arguments[0].click()", button)


if __name__ == "__main__":
    main()
