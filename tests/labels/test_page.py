"""An expert labels a cluster in a browser, and the vote arrives in `expert_votes`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from biomedica_kedro.datasets.expert_votes import ExpertVotesDataset
from biomedica_kedro.taxonomy import BIOMEDICA, Question, load_taxonomy
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


def press(browser: WebDriver, *keys: str) -> None:
    """Press keys on the page itself, each when the page has followed the one before."""
    for key in keys:
        ActionChains(browser).send_keys(key).perform()
        time.sleep(1.0)


def show(browser: WebDriver, key: str, heading: str) -> None:
    press(browser, key)
    WebDriverWait(browser, 60).until(lambda b: heading in b.find_element(By.ID, "heading").text)


@pytest.mark.browser
def test_keys_alone_label_skip_and_take_back(tmp_path: Path, browser: WebDriver, serve: Callable[..., str]) -> None:
    write_sheets(tmp_path)
    (tmp_path / "01_raw/corpus/annotations").mkdir(parents=True)
    (tmp_path / "01_raw/corpus/annotations/expert_votes.csv").write_text("expert,keys,question,answers\n")
    command = (sys.executable, "-m", "biomedica_kedro.labels", "--data-root", str(tmp_path), "--port", "{port}")
    url = serve(*command, cwd=tmp_path)
    browser.get(url)
    wait = WebDriverWait(browser, 120)
    wait.until(lambda b: "Cluster 1: 30 images" in b.find_element(By.ID, "heading").text)
    browser.find_element(By.CSS_SELECTOR, "#expert input, #expert textarea").send_keys("Ada", Keys.TAB)
    wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, "#panel_type.asked"))

    show(browser, "s", "Cluster 0: 20 images")
    show(browser, Keys.ARROW_LEFT, "Cluster 1: 30 images")
    browser.execute_script("document.activeElement.blur()")
    press(browser, "2")
    wait.until(lambda b: b.find_elements(By.CSS_SELECTOR, "#panel_type input:checked"))
    if browser.find_element(By.ID, "primary").get_attribute("class").find("asked") < 0:
        press(browser, Keys.ARROW_DOWN)
    press(browser, "1")
    ActionChains(browser).key_down(Keys.SHIFT).send_keys("#").key_up(Keys.SHIFT).perform()  # the thirteenth
    wait.until(lambda b: len(b.find_elements(By.CSS_SELECTOR, "#primary input:checked")) == 2)
    press(browser, Keys.ENTER)

    wait.until(lambda b: "Saved cluster 1" in b.find_element(By.ID, "status").text)
    assert "30 of 50 images (60%) so far" in browser.find_element(By.ID, "status").text
    assert "You: 1 of 2 clusters" in browser.find_element(By.ID, "progress").text
    votes = ExpertVotesDataset(path=str(tmp_path / "01_raw/expert_votes")).load().to_pylist()
    first, *_, thirteenth = load_taxonomy(BIOMEDICA).answers(Question.PRIMARY_LABELS)[:13]
    assert [vote["answers"] for vote in votes if vote["question"] == "primary_labels"] == [[first, thirteenth]]

    browser.execute_script("document.activeElement.blur()")
    press(browser, "u")
    wait.until(lambda b: "Took back what you said last about cluster 1" in b.find_element(By.ID, "status").text)
    assert browser.find_elements(By.CSS_SELECTOR, ".toast-body.error") == []

    browser.refresh()
    name = "return document.querySelector('#expert input, #expert textarea')?.value"
    wait.until(lambda b: b.execute_script(name) == "Ada")
