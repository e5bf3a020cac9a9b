"""Take the README's screenshots of kedro-viz, MLflow, archive and labeling from the results of the last `kedro run`.

    python docs/pictures.py        # needs Debian's chromium and chromium-driver

The pages are served on loopback from this checkout's data.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.remote.webelement import WebElement
from selenium.webdriver.support.ui import WebDriverWait

PROJECT = Path(__file__).resolve().parents[1]
IMAGES = PROJECT / "docs" / "images"
BIN = Path(sys.executable).parent
_SECONDS = 120


def main() -> None:
    """Serve, look, and save one picture a page."""
    store = f"sqlite:///{PROJECT}/data/mlflow.db"
    viz = ("kedro", "viz", "run", "--no-browser", "--host=127.0.0.1", "--port={port}")
    mlflow = ("mlflow", "server", "--backend-store-uri", store, "--host=127.0.0.1", "--port={port}")
    with browser() as chrome:
        with serving(*viz, ready="/api/main") as url:
            take_pipelines(chrome, url)
        with serving(*mlflow, ready="/health") as url:
            take_training(chrome, url)
        take_benchmark(chrome)
        with serving("python", "-m", "biomedica_kedro.archive", "--port={port}", ready="/") as url:
            take_archive(chrome, url)
        with serving("python", "-m", "biomedica_kedro.labels", "--port={port}", ready="/") as url:
            take_labeling(chrome, url)


def take_pipelines(chrome: WebDriver, url: str) -> None:
    """The six stages, collapsed, with their layers; without the reports, which are two thirds of the graph."""
    chrome.set_window_size(1350, 1650)
    chrome.get(f"{url}/?tags=batches,train,gpu,select")
    wait_for(chrome, ".pipeline-node__text")
    hide(chrome, "[class^='feature-hints']", "[class^='update-reminder']", ".pipeline-toolbar__label")
    for button in ("pipeline-minimap-button--map", "pipeline-menu-button--menu"):
        chrome.execute_script(f"document.querySelector('.{button}')?.click()")
    time.sleep(4)
    chrome.save_screenshot(str(IMAGES / "pipelines.png"))


def take_training(chrome: WebDriver, url: str) -> None:
    """The loss curve of the newest training."""
    chrome.set_window_size(1600, 1150)
    chrome.get(f"{url}/#/experiments/2/runs")
    run = wait_for(chrome, "a[href*='/runs/']").get_attribute("href")
    chrome.get(f"{run}/model-metrics")
    wait_for(chrome, ".js-plotly-plot")
    wait_for(chrome, "input[placeholder*='metric charts']").send_keys("^loss$|R_at_1$")
    # The assistant takes a third of the page on a first visit.
    for close in chrome.find_elements(By.CSS_SELECTOR, "button[aria-label='Close']"):
        close.click()
    hide(chrome, ".modebar")
    time.sleep(5)
    chrome.save_screenshot(str(IMAGES / "training.png"))


def take_benchmark(chrome: WebDriver) -> None:
    """The top of the leaderboard."""
    chrome.set_window_size(1500, 860)
    chrome.get((PROJECT / "data" / "08_reporting" / "benchmark" / "leaderboard.html").as_uri())
    chrome.save_screenshot(str(IMAGES / "benchmark.png"))


def take_archive(chrome: WebDriver, url: str) -> None:
    """A search by words, and everything of one of the answers."""
    chrome.set_window_size(1700, 1180)
    chrome.get(url)
    wait_for(chrome, "#results .grid-container button img")
    wait_for(chrome, "#words textarea, #words input").send_keys("pleural effusion on chest x-ray", Keys.ENTER)
    WebDriverWait(chrome, _SECONDS).until(lambda b: "best answers" in b.find_element(By.ID, "status").text)
    panels = "//*[@id='results']//button[.//img][contains(., 'panels')]"
    found = chrome.find_elements(By.XPATH, panels) or [wait_for(chrome, "#results .grid-container button")]
    chrome.execute_script("arguments[0].click()", found[0])
    wait_for(chrome, "#about .card")
    chrome.execute_script("window.scrollTo(0, 0)")
    time.sleep(4)
    chrome.save_screenshot(str(IMAGES / "archive.png"))


def take_labeling(chrome: WebDriver, url: str) -> None:
    """The largest cluster, before it is named."""
    chrome.set_window_size(1500, 1020)
    chrome.get(url)
    wait_for(chrome, "#sheet img")
    time.sleep(4)
    chrome.save_screenshot(str(IMAGES / "labeling.png"))


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
    port = random.randrange(20_000, 32_000)  # kedro-viz refuses ports above 49151
    arguments = [str(BIN / command[0]), *(part.replace("{port}", str(port)) for part in command[1:])]
    process = subprocess.Popen(arguments, cwd=PROJECT, start_new_session=True, stdout=subprocess.DEVNULL)
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


def hide(chrome: WebDriver, *selectors: str) -> None:
    """Take overlays of a first visit off the page."""
    script = (
        "const style = document.createElement('style'); style.textContent = arguments[0]; document.body.append(style)"
    )
    chrome.execute_script(script, f"{', '.join(selectors)} {{ display: none !important }}")


if __name__ == "__main__":
    main()
