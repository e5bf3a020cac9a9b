"""What a person sees: kedro-viz, MLflow, looked at in a real browser."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.support.ui import WebDriverWait

pytestmark = pytest.mark.browser

STAGES = ["ingestion", "extraction", "annotation", "serialization", "modeling", "evaluation"]
BIN = Path(sys.executable).parent


def wait_for(browser, condition, seconds: float = 180):
    return WebDriverWait(browser, seconds).until(condition)


def texts(browser, selector: str) -> list[str]:
    script = "return [...document.querySelectorAll(arguments[0])].map(e => e.textContent.trim())"
    return browser.execute_script(script, selector)


def test_kedro_viz_shows_six_stages_and_the_layers_in_order(finished, browser, serve):
    project, _ = finished
    command = (str(BIN / "kedro"), "viz", "run", "--no-browser", "--host=127.0.0.1", "--port={port}")
    browser.get(serve(*command, cwd=project.path, path="/api/main"))
    wait_for(browser, lambda b: set(STAGES) <= set(texts(b, ".pipeline-node__text")))
    layers = [layer for layer in texts(browser, ".pipeline-layer-name") if layer]
    order = ["raw", "intermediate", "primary", "feature", "model_input", "models", "model_output", "reporting"]
    assert [name for name in order if name in layers] == layers
    assert len(layers) >= 4


def test_mlflow_lists_the_training_with_its_loss_curve(finished, browser, serve):
    project, _ = finished
    store = f"sqlite:///{project.path}/data/mlflow.db"
    command = (
        str(BIN / "mlflow"),
        "server",
        "--backend-store-uri",
        store,
        "--workers=1",
        "--host=127.0.0.1",
        "--port={port}",
    )
    url = serve(*command, cwd=project.path, path="/health")
    browser.get(f"{url}/#/experiments/2/runs")
    link = wait_for(browser, lambda b: b.find_elements(By.CSS_SELECTOR, "a[href*='/runs/']"))[0].get_attribute("href")
    browser.get(f"{link}/model-metrics")
    # charts below the fold are drawn only when asked for
    search = wait_for(browser, lambda b: b.find_elements(By.CSS_SELECTOR, "input[placeholder*='metric charts']"))[0]
    search.send_keys("^loss$")
    wait_for(browser, lambda b: b.find_elements(By.CSS_SELECTOR, ".js-plotly-plot"))
    assert "loss" in texts(browser, "h4, h5, h6, [title], span, div")


def test_mlflow_lists_the_benchmark_with_a_metric_per_task(finished, browser, serve):
    project, _ = finished
    store = f"sqlite:///{project.path}/data/mlflow.db"
    command = (
        str(BIN / "mlflow"),
        "server",
        "--backend-store-uri",
        store,
        "--workers=1",
        "--host=127.0.0.1",
        "--port={port}",
    )
    url = serve(*command, cwd=project.path, path="/health")
    browser.get(f"{url}/#/experiments/3/runs")
    link = wait_for(browser, lambda b: b.find_elements(By.CSS_SELECTOR, "a[href*='/runs/']"))[0].get_attribute("href")
    browser.get(link)
    wait_for(browser, lambda b: "embedded_figure_type" in b.page_source)
