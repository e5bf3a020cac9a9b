"""An expert labels a cluster in a browser, and the vote arrives in `expert_votes`."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from biomedica_kedro.datasets.expert_votes import ExpertVotesDataset
from tests.labels.small_sheets import write_sheets

pytest.importorskip("gradio", reason='the labeling page needs Gradio: pip install -e ".[annotate]"')


def click(browser: WebDriver, widget: str, text: str) -> None:
    option = f"//*[@id='{widget}']//label[.//span[normalize-space()='{text}']]"
    WebDriverWait(browser, 30).until(lambda b: b.find_element(By.XPATH, option)).click()


@pytest.mark.browser
def test_vote_given_in_a_browser_arrives_in_expert_votes(
    tmp_path: Path, browser: WebDriver, serve: Callable[..., str]
) -> None:
    write_sheets(tmp_path)
    url = serve(
        sys.executable, "-m", "biomedica_kedro.labels", "--data-root", str(tmp_path), "--port", "{port}", cwd=tmp_path
    )

    browser.get(url)
    wait = WebDriverWait(browser, 60)
    wait.until(lambda b: "Cluster 1: 30 images" in b.find_element(By.ID, "heading").text)
    wait.until(lambda b: b.find_element(By.CSS_SELECTOR, "#sheet img").get_property("naturalWidth") > 100)
    browser.find_element(By.CSS_SELECTOR, "#expert input, #expert textarea").send_keys("Dr. Ada")
    click(browser, "panel_type", "multiple")
    click(browser, "panel_subtype", "images & plots")
    click(browser, "primary", "Clinical Imaging")
    click(browser, "secondary", "ultrasound")
    browser.find_element(By.ID, "save").click()
    wait.until(lambda b: "Saved cluster 1" in b.find_element(By.ID, "status").text)
    wait.until(lambda b: "Cluster 0: 20 images" in b.find_element(By.ID, "heading").text)
    assert browser.find_elements(By.CSS_SELECTOR, ".toast-body.error") == []
    browser.save_screenshot(str(tmp_path / "page.png"))

    votes = ExpertVotesDataset(path=str(tmp_path / "01_raw/expert_votes")).load().to_pylist()
    assert {vote["question"]: vote["answers"] for vote in votes} == {
        "panel_type": ["multiple"],
        "panel_subtype": ["images & plots"],
        "primary_labels": ["Clinical Imaging"],
        "secondary_labels": ["ultrasound"],
    }
    assert {vote["expert"] for vote in votes} == {"Dr. Ada"}
    assert votes[0]["keys"] == ["b0", "b1"]
    loaded = browser.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    assert [address for address in loaded if not address.startswith((url, "data:", "blob:"))] == []
