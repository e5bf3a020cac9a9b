"""What a person sees: kedro-viz, MLflow and the leaderboard, looked at in a real browser."""

from __future__ import annotations

import json
import sqlite3
from base64 import b64decode
from urllib.parse import quote
from urllib.request import urlopen

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = pytest.mark.browser

STAGES = ["ingestion", "extraction", "annotation", "serialization", "modeling", "evaluation"]
OVERFLOW = "return document.documentElement.scrollWidth - document.documentElement.clientWidth"


def wait_for(browser, condition, seconds: float = 180):
    return WebDriverWait(browser, seconds).until(condition)


def texts(browser, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent.trim())"
    return browser.execute_script(script, selector)


def shown(browser) -> str:
    return browser.execute_script("return document.body.innerText")


def column(browser, heading: str) -> list[str]:
    at = texts(browser, "#scores th").index(heading) + 1
    return texts(browser, f"#scores tbody td:nth-child({at})")


def asked(url: str):
    with urlopen(url, timeout=60) as answer:
        return json.load(answer)


def test_kedro_viz_shows_six_stages_and_the_layers_in_order(viz, browser):
    browser.get(viz)
    wait_for(browser, lambda b: set(STAGES) <= set(texts(b, ".pipeline-node__text")))
    layers = [layer for layer in texts(browser, ".pipeline-layer-name") if layer]
    assert layers == sorted(layers)
    assert len(layers) >= 4


def test_kedro_viz_previews_what_the_stages_draw(viz):
    ids = {node["name"]: node["id"] for node in asked(f"{viz}/api/main")["nodes"] if node["type"] == "data"}
    plots = ["license_plot", "annotation_plots", "training_curves", "leaderboard"]
    for name in plots:
        assert asked(f"{viz}/api/nodes/{ids[name]}")["preview"]["data"], name
    for name in ("contact_sheet", "sample_contact_sheet", "model_errors"):
        assert b64decode(asked(f"{viz}/api/nodes/{ids[name]}")["preview"])[:4] == b"\x89PNG", name


def test_mlflow_lists_the_training_with_its_loss_curve(mlflow, browser):
    browser.get(f"{mlflow}/#/experiments/2/runs")
    link = wait_for(browser, lambda b: b.find_elements(By.CSS_SELECTOR, "a[href*='/runs/']"))[0].get_attribute("href")
    browser.get(f"{link}/model-metrics")
    # charts below the fold are drawn only when asked for
    search = wait_for(browser, lambda b: b.find_elements(By.CSS_SELECTOR, "input[placeholder*='metric charts']"))[0]
    search.send_keys("^loss$")
    wait_for(browser, lambda b: "loss" in texts(b, "h4, h5, h6, [title], span, div"))
    wait_for(browser, lambda b: b.find_elements(By.CSS_SELECTOR, ".js-plotly-plot"))


def test_mlflow_lists_the_benchmark_with_a_metric_per_task(mlflow, browser):
    browser.get(f"{mlflow}/#/experiments/3/runs")
    link = wait_for(browser, lambda b: b.find_elements(By.CSS_SELECTOR, "a[href*='/runs/']"))[0].get_attribute("href")
    browser.get(link)
    wait_for(browser, lambda b: "embedded_figure_type" in b.page_source)


def test_leaderboard_shows_and_sorts_every_score(finished, browser):
    project, _ = finished
    browser.get((project.path / "data/08_reporting/benchmark/leaderboard.html").as_uri())
    assert set(column(browser, "samples")) == {"synthetic"}
    for model in ("biomedica-clip", "untrained"):
        heading = next(th for th in browser.find_elements(By.CSS_SELECTOR, "#scores th") if th.text == model)
        for is_ascending in (True, False):
            heading.click()
            scores = [float(text.split()[0]) for text in column(browser, model)]
            assert scores == sorted(scores, reverse=not is_ascending)
    sections = set(texts(browser, "h2"))
    assert {"Averages", "Recall by class", "Probes", "Paired comparisons", "Tasks without data"} <= sections
    assert browser.execute_script(OVERFLOW) <= 0, "the page is wider than the window"


def test_page_of_the_run_tells_of_every_stage_and_needs_nothing_beside_it(finished, browser):
    project, _ = finished
    browser.get((project.path / "data/08_reporting/report.html").as_uri())
    assert texts(browser, "h2") == ["Funnel", "Licenses", "Rejects", "Clusters", "Samples", "Training", "Scores"]
    assert "This stage has not run" not in shown(browser)
    widths = browser.execute_script("return [...document.images].map(image => image.naturalWidth)")
    assert len(widths) == 3
    assert min(widths) > 300
    assert "validation retrieval" in texts(browser, "svg text")
    assert browser.execute_script(OVERFLOW) <= 0, "the page is wider than the window"


def test_mlflow_compares_two_models_task_by_task(finished, mlflow, browser):
    project, _ = finished
    entries = json.loads((project.path / "data/08_reporting/benchmark_runs.json").read_text())
    runs, experiments = quote(json.dumps([entry["run_id"] for entry in entries])), quote(json.dumps(["3"]))
    browser.get(f"{mlflow}/#/compare-runs?runs={runs}&experiments={experiments}")
    wait_for(browser, lambda b: "avg/synthetic_other/all/acc" in texts(b, "a"))
    wait_for(browser, lambda b: "leaderboard.html" in shown(b))
    wait_for(browser, lambda b: b.find_elements(By.CSS_SELECTOR, ".js-plotly-plot"))
    assert "Comparing 2 Runs from 1 Experiment" in shown(browser)
    assert {"biomedica-clip@biomedica", "untrained@biomedica"} <= set(shown(browser).splitlines())
    # the table draws the rows in sight and the next few only
    assert {"fs/embedded_concept/k1/acc", "contam/embedded_figure_type/frac"} <= set(texts(browser, "a"))
    query = "select value from latest_metrics where key = 'avg/synthetic_other/all/acc' and run_uuid in (?, ?)"
    database = sqlite3.connect(project.path / "data" / "mlflow.db")
    averages = database.execute(query, [entry["run_id"] for entry in entries]).fetchall()
    assert {f"{round(value, 3):g}" for (value,) in averages} <= set(shown(browser).split())
