"""The labeling page: an expert sees the contact sheet of a cluster and answers three questions, in a browser.

It listens on loopback only, asks nothing of the network, and appends each vote to the expert's own CSV file. Source:
BIOMEDICA section 3: panel type, global concepts, local concepts.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from biomedica_kedro.labels.ballots import BallotError
from biomedica_kedro.labels.session import LabelingSession
from biomedica_kedro.taxonomy import Question

if TYPE_CHECKING:
    import gradio as gr

HOST = "127.0.0.1"
_TITLE = "Label image clusters"


class PageError(RuntimeError):
    """The labeling page cannot be shown."""


def serve_page(session: LabelingSession, port: int) -> None:
    """Serve the page until interrupted.

    Raises:
        PageError: when the extra `annotate` is not installed.
    """
    page = build_page(session)
    folders = sorted({str(sheet.path.parent.resolve()) for sheet in session.sheets.values()})
    import gradio as gr

    fonts = ["system-ui", "sans-serif"]  # the default theme would ask Google for its fonts
    theme = gr.themes.Default(font=fonts, font_mono=["monospace"])
    page.launch(
        server_name=HOST, server_port=port, allowed_paths=folders, theme=theme, share=False, footer_links=[],
        ssr_mode=False,
    )  # fmt: skip


def build_page(session: LabelingSession) -> gr.Blocks:
    """The page's widgets, wired to the session."""
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio as gr
    except ImportError as error:
        raise PageError(
            'the labeling page needs Gradio: pip install "biomedica-kedro[annotate]", or label in a spreadsheet '
            "with `python -m biomedica_kedro.labels --ballot FILE.csv`"
        ) from error
    view = _View(session)
    page: gr.Blocks = gr.Blocks(title=_TITLE, analytics_enabled=False, fill_width=True)
    with page:
        gr.Markdown(f"## {_TITLE}")
        with gr.Row():
            with gr.Column(scale=3):
                heading = gr.Markdown(elem_id="heading")
                sheet = gr.Image(show_label=False, buttons=["fullscreen"], elem_id="sheet", height=860)
            with gr.Column(scale=2):
                expert = gr.Textbox(label="Your name", elem_id="expert", placeholder="as it shall stand in the votes")
                cluster = gr.Dropdown(list(session.sheets), label="Cluster", elem_id="cluster")
                panel_type = gr.Radio(
                    session.taxonomy.answers(Question.PANEL_TYPE),
                    label="1. One panel or several?",
                    elem_id="panel_type",
                )
                subtype = gr.Radio([], label="What kinds of panel?", elem_id="panel_subtype", visible=False)
                primary = gr.CheckboxGroup(
                    session.taxonomy.answers(Question.PRIMARY_LABELS), label="2. Global concepts", elem_id="primary"
                )
                secondary = gr.CheckboxGroup([], label="3. Local concepts", elem_id="secondary", visible=False)
                save = gr.Button("Save and next", variant="primary", elem_id="save")
                status = gr.Markdown(elem_id="status")
        answers = [panel_type, subtype, primary, secondary]
        shown = [heading, sheet, cluster, *answers]
        panel_type.input(view.subtypes, panel_type, subtype, show_progress="hidden")
        primary.input(view.local_concepts, [primary, secondary], secondary, show_progress="hidden")
        cluster.input(view.show, cluster, shown, show_progress="hidden")
        expert.submit(view.next, expert, shown)
        save.click(view.save, [expert, cluster, *answers], [status, *shown], show_progress="minimal")
        page.load(view.first, None, shown)
    return page


class _View:
    """What the widgets show next; every list answers to the widgets named in `build_page`."""

    def __init__(self, session: LabelingSession) -> None:
        self._session = session

    def first(self) -> list[Any]:
        return self.show(next(iter(self._session.sheets), None))

    def next(self, expert: str) -> list[Any]:
        return self.show(self._session.next_for(expert))

    def show(self, cluster_id: int | None) -> list[Any]:
        import gradio as gr

        blank = [gr.update(value=None), gr.update(value=None, choices=[], visible=False)]
        blank += [gr.update(value=[]), gr.update(value=[], choices=[], visible=False)]
        if cluster_id is None:
            return ["### Every cluster is labeled. Thank you.", None, None, *blank]
        sheet = self._session.sheets[cluster_id]
        heading = f"### Cluster {cluster_id}: {sheet.n_images} images, {len(sheet.keys)} of them on this sheet"
        return [heading, str(sheet.path), cluster_id, *blank]

    def subtypes(self, panel_type: str | None) -> Any:
        import gradio as gr

        choices = self._session.taxonomy.panel_types.get(panel_type or "", [])
        only = choices[0] if len(choices) == 1 else None
        return gr.update(choices=choices, value=only, visible=len(choices) > 1)

    def local_concepts(self, primary: Sequence[str], secondary: Sequence[str]) -> Any:
        import gradio as gr

        choices = [local for name in primary for local in self._session.taxonomy.concepts[name].local]
        kept = [local for local in secondary if local in choices]
        return gr.update(choices=choices, value=kept, visible=bool(choices))

    def save(
        self,
        expert: str,
        cluster_id: int | None,
        panel_type: str | None,
        subtype: str | None,
        primary: Sequence[str],
        secondary: Sequence[str],
    ) -> list[Any]:
        import gradio as gr

        keep = [gr.update()] * 7
        if cluster_id is None or not panel_type or not primary:
            return ["Please answer questions 1 and 2 first.", *keep]
        answers = {
            Question.PANEL_TYPE: [panel_type],
            Question.PANEL_SUBTYPE: [subtype] if subtype else [],
            Question.PRIMARY_LABELS: list(primary),
            Question.SECONDARY_LABELS: list(secondary),
        }
        try:
            path = self._session.take(expert, cluster_id, answers)
        except BallotError as error:
            return [f"Not saved: {error}.", *keep]
        done = len(self._session.labeled_by(expert))
        message = f"Saved cluster {cluster_id} to {path.name}; {done} of {len(self._session.sheets)} clusters labeled."
        return [message, *self.next(expert)]
