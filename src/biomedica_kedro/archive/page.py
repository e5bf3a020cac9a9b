"""The page of the archive: search by words or by an image, filter, look, ask why, take a selection along as a recipe.

It listens on loopback only and asks nothing of the network. What left the flow is looked through beside it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow.compute as pc
from PIL import Image

from biomedica_kedro.archive import cards, correction
from biomedica_kedro.archive.conditions import recipe_of, where_keys, where_of
from biomedica_kedro.archive.images import ArchiveImages
from biomedica_kedro.archive.rejects import RejectTable
from biomedica_kedro.archive.search import Archive, ArchiveError
from biomedica_kedro.archive.way import way_of
from biomedica_kedro.labels.page import load_gradio
from biomedica_kedro.pmc.identifiers import known_pmcid
from biomedica_kedro.shards.attribution import link_of

if TYPE_CHECKING:
    from gradio import Blocks

PAGE_SIZE = 24
_THUMBNAIL, _LARGE = 320, 1400
_CHECKED = {"license_group": "License", "panel_type": "Panels", "primary_labels": "Concept", "split": "Split"}
_LISTED = {"secondary_labels": "Local concept", "journal": "Journal", "kind": "Kind of figure"}
_TITLE = "The archive"
_MOST_EXPORTED = 10_000
_BLANK = (232, 232, 232)


def build_page(archive: Archive, root: Path) -> Blocks:
    """The page's widgets, wired to the archive.

    Args:
        archive: open.
        root: the data root, for images, panels, the way through the stages, and rejects.
    """
    gr = load_gradio("python -c 'from biomedica_kedro.archive import search; print(search(\"x-ray\"))'")
    view = _View(archive, root)
    page: Blocks = gr.Blocks(title=_TITLE, analytics_enabled=False, fill_width=True)
    with page:
        gr.Markdown(f"## {_TITLE}: {archive.count():,} images with their captions")
        with gr.Tab("Search"):
            _search_tab(gr, view, page)
        with gr.Tab("Rejects"):
            _rejects_tab(gr, view, page)
    return page


def _search_tab(gr: Any, view: _View, page: Any) -> None:
    shown, place = gr.State([]), gr.State(0)
    with gr.Row():
        with gr.Column(scale=1, min_width=240):
            words = gr.Textbox(label="Words", elem_id="words", placeholder="chest x-ray pneumonia")
            image = gr.Image(label="Or an image", type="pil", elem_id="query_image", height=170, sources=["upload"])
            ask = gr.Button("Search", variant="primary", elem_id="ask")
            facets = [
                gr.CheckboxGroup(view.choices(name), label=title, elem_id=f"facet_{name}")
                for name, title in _CHECKED.items()
            ]
            facets += [
                gr.Dropdown(view.choices(name), label=title, elem_id=f"facet_{name}", multiselect=True)
                for name, title in _LISTED.items()
            ]
            since = gr.Textbox(label="Published since", elem_id="since", placeholder="2015")
            until = gr.Textbox(label="until", elem_id="until", placeholder="2020-06")
        with gr.Column(scale=3):
            status = gr.Markdown(elem_id="status")
            gallery = gr.Gallery(
                show_label=False, columns=4, height=820, object_fit="contain", elem_id="results", allow_preview=False
            )
            with gr.Row():
                back, more = gr.Button("Back", elem_id="back"), gr.Button("More", elem_id="more")
            with gr.Accordion("Take this selection along", open=False, elem_id="export"):
                export = gr.Button("Recipe for training", elem_id="export_button")
                recipe = gr.Code(language="yaml", elem_id="recipe", label="conf/local/parameters_modeling.yml")
        with gr.Column(scale=2):
            picture = gr.Image(show_label=False, elem_id="picture", height=430)
            correcting = correction.build(gr, view.corrector, picture)
            about = gr.HTML(elem_id="about")
            with gr.Accordion("Why is this here?", open=False, elem_id="why"):
                way = gr.HTML(elem_id="way")
    asked = [words, image, since, until, *facets]
    found = [gallery, status, shown, place]
    for trigger in (ask.click, words.submit, image.upload, *(facet.input for facet in facets)):
        trigger(view.first, asked, found, show_progress="minimal")
    for event in (since.submit, until.submit):
        event(view.first, asked, found, show_progress="minimal")
    more.click(view.more, [place, *asked], found, show_progress="minimal")
    back.click(view.back, [place, *asked], found, show_progress="minimal")
    export.click(view.export, asked, recipe, show_progress="hidden")

    def select(rows: list[dict[str, Any]], event: Any) -> Any:
        return view.show(rows, event.index)

    select.__annotations__["event"] = gr.SelectData  # Gradio looks at the annotation itself
    gallery.select(select, shown, [picture, about, way, *correcting], show_progress="hidden")
    page.load(view.first, asked, found)


def _rejects_tab(gr: Any, view: _View, page: Any) -> None:
    shown, place = gr.State([]), gr.State(0)
    with gr.Row():
        with gr.Column(scale=1, min_width=240):
            reason = gr.Radio([], label="Stage and reason", elem_id="reject_reason")
            words = gr.Textbox(label="In its name or detail", elem_id="reject_words")
        with gr.Column(scale=3):
            status = gr.Markdown(elem_id="reject_status")
            gallery = gr.Gallery(
                show_label=False, columns=4, height=820, object_fit="contain", elem_id="rejects", allow_preview=False
            )
            more = gr.Button("More", elem_id="reject_more")
        with gr.Column(scale=2):
            picture = gr.Image(show_label=False, elem_id="reject_picture", height=430)
            about = gr.HTML(elem_id="reject_about")
    found = [gallery, status, shown, place]
    reason.input(view.first_rejects, [reason, words], found, show_progress="minimal")
    words.submit(view.first_rejects, [reason, words], found, show_progress="minimal")
    more.click(view.more_rejects, [place, reason, words], found, show_progress="minimal")

    def select(rows: list[dict[str, Any]], event: Any) -> Any:
        return view.show_reject(rows, event.index)

    select.__annotations__["event"] = gr.SelectData
    gallery.select(select, shown, [picture, about], show_progress="hidden")
    page.load(view.reasons, None, reason).then(view.first_rejects, [reason, words], found)


class _View:
    """What the widgets show next; lists answer to the widgets named in the tabs."""

    def __init__(self, archive: Archive, root: Path) -> None:
        self._archive, self._root = archive, root
        self._images = ArchiveImages(root)
        self.corrector = correction.Corrector(root, self._images, _LARGE)
        self._rejects = RejectTable(root)

    def choices(self, column: str) -> list[tuple[str, str]]:
        facets = self._archive.facets
        rows = facets.filter(pc.equal(facets["column"], column)).to_pylist()
        return [(f"{row['value'] or 'none'} ({row['images']:,})", row["value"]) for row in rows]

    def first(self, *asked: Any) -> list[Any]:
        return self._page(0, *asked)

    def more(self, place: int, *asked: Any) -> list[Any]:
        return self._page(place + PAGE_SIZE, *asked)

    def back(self, place: int, *asked: Any) -> list[Any]:
        return self._page(max(0, place - PAGE_SIZE), *asked)

    def export(self, words: str, image: Image.Image | None, since: str, until: str, *facets: Any) -> str:
        where = self._where(since, until, facets)
        if not (words or "").strip() and image is None:
            return recipe_of("found", where or "true")
        try:
            rows = self._archive.search(words or "", image=_pixels(image), where=where, limit=_MOST_EXPORTED)
        except ArchiveError as error:
            return f"# {error}"
        return recipe_of("found", where_keys(rows["key"].to_pylist()))

    def show(self, rows: Sequence[Mapping[str, Any]], number: int) -> list[Any]:
        row = rows[number]
        cells, wrong = self.corrector.cells(row)
        picture, _ = self.corrector.picture(row, cells if len(cells) > 1 else [])
        about, way = cards.card(row, cards.how_found(row)), cards.way_list(way_of(row, self._root))
        return [picture, about, way, dict(row), cells, wrong]

    def reasons(self) -> Any:
        import gradio as gr

        counts = self._rejects.counts()
        told = [(f"{c.stage}: {c.reason} ({c.records:,})", f"{c.stage}:{c.reason}") for c in counts]
        return gr.update(choices=[(f"everything ({sum(c.records for c in counts):,})", ""), *told], value="")

    def first_rejects(self, reason: str | None, words: str) -> list[Any]:
        return self._reject_page(0, reason, words)

    def more_rejects(self, place: int, reason: str | None, words: str) -> list[Any]:
        return self._reject_page(place + PAGE_SIZE, reason, words)

    def show_reject(self, rows: Sequence[Mapping[str, Any]], number: int) -> tuple[Any, str]:
        row = rows[number]
        article_id = row["source"].partition("/")[0].replace("_", ".", 1).partition("-")[0]
        link = link_of({"article_id": article_id}) if known_pmcid(article_id) else ""
        return self._picture_of(row["source"], _LARGE), cards.reject_card(row, link)

    def _page(
        self, place: int, words: str, image: Image.Image | None, since: str, until: str, *facets: Any
    ) -> list[Any]:
        where = self._where(since, until, facets)
        try:
            found = self._archive.search(
                words or "", image=_pixels(image), where=where, limit=PAGE_SIZE, skip=place
            ).to_pylist()
            total = self._archive.count(where)
        except ArchiveError as error:
            return [[], f"**{error}**", [], 0]
        pictures = [(self._thumbnail(row), cards.short(row)) for row in found]
        places = f"{place + 1} to {place + len(found)}" if found else "nothing more"
        is_ranked = bool((words or "").strip()) or image is not None
        told = f"best answers among {total:,} images" if is_ranked else f"of {total:,} images"
        return [pictures, f"Showing {places}, {told}" + (f" with `{where}`" if where else ""), found, place]

    def _reject_page(self, place: int, reason: str | None, words: str) -> list[Any]:
        stage, _, code = (reason or "").partition(":")
        found = self._rejects.rows(stage=stage, reason=code, words=(words or "").strip(), limit=PAGE_SIZE, skip=place)
        pictures = [(self._picture_of(row["source"], _THUMBNAIL), f"{row['reason']}: {row['source']}") for row in found]
        places = f"{place + 1} to {place + len(found)}" if found else "nothing more"
        return [pictures, f"Showing {places} of what left the flow", found, place]

    def _where(self, since: str, until: str, facets: Sequence[Any]) -> str | None:
        return where_of(dict(zip([*_CHECKED, *_LISTED], facets, strict=True)), since or "", until or "")

    def _thumbnail(self, row: Mapping[str, Any]) -> Image.Image:
        image = self._images.image(row["batch"], row["article_id"], row["file_name"], _THUMBNAIL)
        return image or Image.new("RGB", (_THUMBNAIL, _THUMBNAIL), _BLANK)

    def _picture_of(self, source: str, longest: int) -> Image.Image:
        pair = self._archive.get(source)
        place = self._rejects.picture(source)
        if pair is not None:
            image = self._images.image(pair["batch"], pair["article_id"], pair["file_name"], longest)
        else:
            image = None if place is None else self._images.image(*place, longest)
        return image or Image.new("RGB", (_THUMBNAIL, _THUMBNAIL), _BLANK)


def _pixels(image: Image.Image | None) -> Any:
    return None if image is None else np.asarray(image.convert("RGB"))
