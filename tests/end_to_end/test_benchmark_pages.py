"""What a person sees of the benchmark: the leaderboard, and two models beside each other in MLflow."""

from __future__ import annotations

import json
import sqlite3
import sys
from pathlib import Path
from urllib.parse import quote

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = pytest.mark.browser

BIN = Path(sys.executable).parent
OVERFLOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"


def texts(browser, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent.trim())"
    return browser.execute_script(script, selector)


def shown(browser) -> str:
    return browser.execute_script("return document.body.innerText")


def column(browser, heading: str) -> list[str]:
    at = texts(browser, "#scores th").index(heading) + 1
    return texts(browser, f"#scores tbody td:nth-child({at})")


def test_leaderboard_shows_and_sorts_every_score(finished, browser):
    project, _ = finished
    browser.get((project.path / "data/08_reporting/leaderboard.html").as_uri())
    assert set(column(browser, "model")) == {"biomedica-clip", "untrained"}
    assert set(column(browser, "samples")) == {"synthetic"}
    heading = next(th for th in browser.find_elements(By.CSS_SELECTOR, "#scores th") if th.text == "score")
    for is_ascending in (True, False):
        heading.click()
        scores = [float(text) for text in column(browser, "score")]
        assert scores == sorted(scores, reverse=not is_ascending)
    bars = browser.find_elements(By.CSS_SELECTOR, "#scores svg .score")
    widths = [float(bar.get_attribute("width")) for bar in bars]
    assert widths == pytest.approx([160 * score for score in scores], abs=0.1)
    sections = set(texts(browser, "h2"))
    assert {"Averages", "Recall by class", "Probes", "Paired comparisons", "Tasks without data"} <= sections
    assert browser.execute_script(OVERFLOW) <= 0, "the page is wider than the window"


def test_mlflow_compares_two_models_task_by_task(finished, browser, serve):
    project, _ = finished
    store = f"sqlite:///{project.path}/data/mlflow.db"
    server = (
        str(BIN / "mlflow"),
        "server",
        "--backend-store-uri",
        store,
        "--workers=1",
        "--host=127.0.0.1",
        "--port={port}",
    )
    command = ("env", "MLFLOW_SERVER_ENABLE_JOB_EXECUTION=false", *server, "--workers=1")  # starts in half the time
    url = serve(*command, cwd=project.path, path="/health")
    entries = json.loads((project.path / "data/08_reporting/benchmark_runs.json").read_text())
    runs, experiments = quote(json.dumps([entry["run_id"] for entry in entries])), quote(json.dumps(["3"]))
    browser.get(f"{url}/#/compare-runs?runs={runs}&experiments={experiments}")
    wait = WebDriverWait(browser, 120)
    wait.until(lambda b: "avg/synthetic_other/all/score" in texts(b, "a"))
    wait.until(lambda b: "leaderboard.html" in shown(b))
    wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, ".js-plotly-plot"))
    assert "Comparing 2 Runs from 1 Experiment" in shown(browser)
    assert {"biomedica-clip@biomedica", "untrained@biomedica"} <= set(shown(browser).splitlines())
    # the table draws the rows in sight and the next few only
    assert {"fs/embedded_concept/k1/acc", "contam/embedded_figure_type/frac"} <= set(texts(browser, "a"))
    query = "select value from latest_metrics where key = 'avg/synthetic_other/all/score' and run_uuid in (?, ?)"
    database = sqlite3.connect(project.path / "data" / "mlflow.db")
    averages = database.execute(query, [entry["run_id"] for entry in entries]).fetchall()
    assert {f"{round(value, 3):g}" for (value,) in averages} <= set(shown(browser).split())
