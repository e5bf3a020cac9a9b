"""Somebody searches the archive in a browser: words, filters, an image, why, the rejects, and a recipe."""

from __future__ import annotations

import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from selenium.webdriver.common.action_chains import ActionChains
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys
from selenium.webdriver.remote.webdriver import WebDriver
from selenium.webdriver.support.ui import WebDriverWait

from biomedica_kedro.archive.model import ArchiveModelOptions
from biomedica_kedro.labels.panel_corrections import read_corrections
from biomedica_kedro.stages import BatchFolder
from tests.archive.small_archive import CAPTIONS
from tests.pipelines.test_archive import index, picture, upstream

__all__ = ["upstream"]

pytest.importorskip("gradio", reason='the page needs Gradio: pip install -e ".[annotate]"')
LAYERS = {
    "image_caption_pairs": "03_primary", "articles": "02_intermediate", "image_labels": "04_feature",
    "prepared_samples": "05_model_input", "article_archive": "01_raw",
}  # fmt: skip


@pytest.fixture(scope="module")
def root(upstream: dict[str, BatchFolder], tmp_path_factory) -> Path:
    """A data root as a run leaves it."""
    root = tmp_path_factory.mktemp("data")
    index(upstream, root, {"embed_archive": ArchiveModelOptions(model="descriptors")})
    for name, layer in LAYERS.items():
        (root / layer).mkdir(exist_ok=True)
        (root / layer / name).symlink_to(upstream[name].path)
    return root


@pytest.fixture(scope="module")
def url(root: Path, serve: Callable[..., str]) -> str:
    command = (sys.executable, "-m", "biomedica_kedro.archive", "--data-root", str(root), "--port", "{port}")
    return serve(*command, cwd=root)


@pytest.fixture
def page(browser: WebDriver, url: str) -> WebDriver:
    browser.set_window_size(1900, 1400)
    browser.get(url)
    wait(browser, lambda b: len(images(b)) == len(CAPTIONS))
    return browser


def wait(browser: WebDriver, is_so: Callable[[WebDriver], object], seconds: int = 90) -> object:
    return WebDriverWait(browser, seconds).until(is_so)


def images(browser: WebDriver, gallery: str = "results") -> list:
    return browser.find_elements(By.CSS_SELECTOR, f"#{gallery} .grid-container button img")


def text(browser: WebDriver, widget: str) -> str:
    return browser.execute_script("return document.getElementById(arguments[0])?.textContent ?? ''", widget)


def ask(browser: WebDriver, widget: str, words: str) -> None:
    field = browser.find_element(By.CSS_SELECTOR, f"#{widget} input, #{widget} textarea")
    field.clear()
    field.send_keys(words, Keys.ENTER)


@pytest.mark.browser
def test_words_find_and_a_click_tells_everything_of_an_image(page):
    ask(page, "words", "bar plot of survival")
    wait(page, lambda b: len(images(b)) == 1)

    ask(page, "words", "chest x-ray pneumonia")
    wait(page, lambda b: len(images(b)) == 3)
    page.execute_script("arguments[0].click()", images(page)[0])
    wait(page, lambda b: "pneumonia" in text(b, "about"))

    told = text(page, "about")
    assert "CC BY" in told and "A. Bee. Title" in told and "Clinical Imaging" in told and "by words" in told
    assert "Mentions in the article (1)" in told
    page.find_element(By.CSS_SELECTOR, "#why button").click()
    wait(page, lambda b: "pair_images_with_captions" in text(b, "way"))
    assert "published in the subset" in text(page, "way") or "prepare_samples" not in text(page, "way")
    assert page.find_elements(By.CSS_SELECTOR, ".toast-body.error") == []
    loaded = page.execute_script("return performance.getEntriesByType('resource').map(entry => entry.name)")
    own = page.current_url.rstrip("/")
    assert [address for address in loaded if not address.startswith((own, "data:", "blob:"))] == []


@pytest.mark.browser
def test_facet_narrows_and_the_selection_becomes_a_recipe(page):
    page.find_element(By.XPATH, "//*[@id='facet_license_group']//label[contains(., 'commercial (4)')]").click()
    wait(page, lambda b: len(images(b)) == 4)
    assert "license_group = 'commercial'" in text(page, "status")

    page.find_element(By.CSS_SELECTOR, "#export button").click()
    wait(page, lambda b: b.find_element(By.ID, "export_button").is_displayed())
    page.find_element(By.ID, "export_button").click()
    wait(page, lambda b: "where: license_group = 'commercial'" in text(b, "recipe"))


@pytest.mark.browser
def test_uploaded_image_finds_itself_first(page, tmp_path: Path):
    path = tmp_path / "mine.jpg"
    path.write_bytes(picture(7))

    page.find_element(By.CSS_SELECTOR, "#query_image input[type=file]").send_keys(str(path))
    wait(page, lambda b: "best answers" in text(b, "status"))
    page.execute_script("arguments[0].click()", images(page)[0])

    wait(page, lambda b: CAPTIONS[7] in text(b, "about"))
    assert "place 1 by looks" in text(page, "about")


@pytest.mark.browser
def test_rejects_are_looked_through_with_their_reasons(page):
    page.find_element(By.XPATH, "//button[@role='tab' and contains(., 'Rejects')]").click()
    option = "//*[@id='reject_reason']//label[contains(., 'embed_archive: not_an_image (1)')]"
    wait(page, lambda b: b.find_elements(By.XPATH, option))
    page.find_element(By.XPATH, option).click()
    wait(page, lambda b: len(images(b, "rejects")) == 1)

    page.execute_script("arguments[0].click()", images(page, "rejects")[0])

    wait(page, lambda b: "not_an_image" in text(b, "reject_about"))
    assert "PMC4_1-F1-0" in text(page, "reject_about")


@pytest.mark.browser
def test_panels_of_a_figure_are_corrected_and_saved(page, root: Path):
    ask(page, "words", "chest x-ray pneumonia")
    wait(page, lambda b: len(images(b)) == 3)
    page.execute_script("arguments[0].click()", images(page)[0])
    wait(page, lambda b: "pneumonia" in text(b, "about"))
    page.find_element(By.CSS_SELECTOR, "#correct button").click()
    wait(page, lambda b: values(b) == ["0", "0", "64", "48", ""])

    put(page, 2, "31")
    put(page, 4, "A")
    wait(page, lambda b: values(b) == ["0", "0", "31", "48", "A"])
    page.find_element(By.CSS_SELECTOR, "#corrector textarea, #corrector input").send_keys("Ada")
    page.find_element(By.ID, "save_panels").click()
    wait(page, lambda b: "Saved to ada.csv" in text(b, "correct_status"))

    (row,) = read_corrections([root / "01_raw" / "panel_corrections" / "ada.csv"]).to_pylist()
    assert {name: row[name] for name in ("expert", "left", "top", "right", "bottom", "letter")} == {
        "expert": "Ada", "left": 0, "top": 0, "right": 31, "bottom": 48, "letter": "A",
    }  # fmt: skip


def cells(browser: WebDriver) -> list:
    return browser.find_elements(By.CSS_SELECTOR, "#panel_table [role=gridcell]")


def values(browser: WebDriver) -> list[str]:
    """What the first row of the table says; the chosen cell has a menu, too."""
    return [cell.text.partition("\n")[0].removesuffix("⋮") for cell in cells(browser)[:5]]


def put(browser: WebDriver, number: int, value: str) -> None:
    """Write into a cell of the table as a person does: two clicks, the value, Enter."""

    def is_open(browser: WebDriver) -> bool:  # the table may still be unfolding under the clicks
        ActionChains(browser).double_click(cells(browser)[number]).perform()
        return browser.execute_script("return document.activeElement.ariaLabel") == "Edit cell"

    wait(browser, is_open)
    keys = ActionChains(browser).key_down(Keys.CONTROL).send_keys("a").key_up(Keys.CONTROL)
    keys.send_keys(value, Keys.ENTER).perform()
