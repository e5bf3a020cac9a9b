"""The labeling page: an expert sees the contact sheet of a cluster and answers three questions, in a browser.

It listens on loopback only, asks nothing of the network, and appends each vote to the expert's own CSV file. Source:
BIOMEDICA section 3: panel type, global concepts, local concepts.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from biomedica_kedro.labels.ballots import BallotError
from biomedica_kedro.labels.pictures import SheetPictures
from biomedica_kedro.labels.session import Answers, LabelingSession, Progress, Sheet, disagreements
from biomedica_kedro.taxonomy import Question

if TYPE_CHECKING:
    from gradio import Blocks

HOST = "127.0.0.1"
KEYS = Path(__file__).with_name("keys.html")
"""Script of the page's keys: 1 to 9, 0, with shift for the answers after the tenth, arrows, S, U, Enter."""

_TITLE = "Label image clusters"
_SHOWN = 10
_KEYS_TOLD = (
    "Keys: **1-9, 0** answer the marked question (with **⇧** from the eleventh answer on), **↑ ↓** mark another, "
    "**Enter** saves, **S** skips, **U** takes the last vote back, **← →** turn the pages."
)
_FIRST_VOTE = (
    " **This is the first vote of a person: from the next `kedro run` on the simulated votes no longer count, and only "
    "clusters that people have voted on are labeled: {progress.images_voted:,} of {progress.images:,} images "
    "({progress.share:.0%}) so far.**"
)


class PageError(RuntimeError):
    """The labeling page cannot be shown."""


def serve_page(page: Blocks, port: int, folders: Sequence[str], told: Callable[[str], None], **extra: Any) -> None:
    """Serve a page on loopback until interrupted.

    Args:
        page: what to serve.
        port: on 127.0.0.1.
        folders: whose files the page may show.
        told: is given the address when the server answers.
        extra: of Gradio's `launch`.
    Raises:
        PageError: when the port is taken, or the machine too busy to answer.
    """
    gr = load_gradio("")
    fonts = ["system-ui", "sans-serif"]  # the default theme would ask Google for its fonts
    theme = gr.themes.Default(font=fonts, font_mono=["monospace"])
    try:
        _, address, _ = page.launch(
            server_name=HOST, server_port=port, allowed_paths=list(folders), theme=theme, share=False, footer_links=[],
            ssr_mode=False, quiet=True, prevent_thread_lock=True, **extra,
        )  # fmt: skip
    except OSError as error:
        raise PageError(f"port {port} is taken: name another with --port ({error})") from error
    except ValueError as error:  # Gradio gives itself three seconds to answer, whatever else the machine does
        page.close()
        raise PageError(f"the page did not answer on {HOST}:{port} in time, try again: {error}") from error
    told(address.rstrip("/"))
    page.block_thread()


def load_gradio(otherwise: str) -> Any:
    """Gradio, told to send nothing home.

    Args:
        otherwise: what does the same without it.
    Raises:
        PageError: when the extra `annotate` is not installed.
    """
    os.environ.setdefault("GRADIO_ANALYTICS_ENABLED", "False")
    try:
        import gradio
    except ImportError as error:
        raise PageError(
            f'this page needs Gradio: pip install "biomedica-kedro[annotate]"; without it: {otherwise}'
        ) from error
    return gradio


def build_page(session: LabelingSession, pictures: SheetPictures | None = None, *, adjudicates: bool = False) -> Blocks:
    """The page's widgets, wired to the session.

    Args:
        session: sheets and votes.
        pictures: gives single images; None shows the sheet only.
        adjudicates: show what others have said, and disputed clusters first.
    """
    gr = load_gradio("python -m biomedica_kedro.labels --ballot FILE.csv, and a spreadsheet")
    view = _View(session, pictures, adjudicates=adjudicates)
    page: Blocks = gr.Blocks(title=_TITLE, analytics_enabled=False, fill_width=True)
    with page:
        gr.Markdown(f"## {_TITLE}")
        name, skipped = gr.BrowserState("", storage_key="biomedica-expert", secret="on this machine"), gr.State([])
        with gr.Row():
            with gr.Column(scale=3):
                heading = gr.Markdown(elem_id="heading")
                sheet = gr.Image(show_label=False, buttons=["fullscreen"], elem_id="sheet", height=720)
                others = gr.Markdown(elem_id="others", visible=adjudicates)
                with gr.Accordion("Images one by one, with their captions", open=False, visible=pictures is not None):
                    single = gr.Gallery(show_label=False, elem_id="single", columns=4, height=620, object_fit="contain")
            with gr.Column(scale=2):
                progress = gr.Markdown(elem_id="progress")
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
                save = gr.Button("Save and next (Enter)", variant="primary", elem_id="save")
                with gr.Row():
                    before = gr.Button("Back (←)", elem_id="previous", size="sm", min_width=70)
                    skip = gr.Button("Skip (S)", elem_id="skip", size="sm", min_width=70)
                    undo = gr.Button("Undo (U)", elem_id="undo", size="sm", min_width=70)
                    after = gr.Button("Forward (→)", elem_id="following", size="sm", min_width=70)
                status = gr.Markdown(elem_id="status")
                gr.Markdown(_KEYS_TOLD)
        answers = [panel_type, subtype, primary, secondary]
        shown = [heading, sheet, cluster, progress, others, single, *answers]
        panel_type.input(view.subtypes, panel_type, subtype, show_progress="hidden")
        primary.input(view.local_concepts, [primary, secondary], secondary, show_progress="hidden")
        cluster.input(view.show, [expert, cluster], shown, show_progress="hidden")
        before.click(view.previous, [expert, cluster], shown, show_progress="hidden")
        after.click(view.following, [expert, cluster], shown, show_progress="hidden")
        skip.click(view.skip, [expert, cluster, skipped], [skipped, *shown], show_progress="hidden")
        undo.click(view.undo, [expert, cluster], [status, *shown], show_progress="hidden")
        named = [expert.submit, expert.blur]
        for event in named:
            event(view.named, [expert, cluster], [name, *shown], show_progress="hidden")
        save.click(view.save, [expert, cluster, skipped, *answers], [status, *shown], show_progress="minimal")
        page.load(view.first, name, [expert, *shown])
    return page


class _View:
    """What the widgets show next; every list answers to the widgets named in `build_page`."""

    def __init__(self, session: LabelingSession, pictures: SheetPictures | None, *, adjudicates: bool) -> None:
        self._session, self._pictures = session, pictures
        self._adjudicates = adjudicates

    def first(self, name: str | None) -> list[Any]:
        expert = name or ""
        return [expert, *self.show(expert, self._next(expert))]

    def named(self, expert: str, cluster_id: int | None) -> list[Any]:
        """A name was given: go to its first open cluster; answers begun here stay unless the expert has own ones."""
        import gradio as gr

        if cluster_id is None or self._session.answers_of(expert, cluster_id):
            return [expert.strip(), *self.show(expert, self._next(expert))]
        told = gr.update(value=told_progress(self._session.progress(expert)))
        kept = [gr.update()] * 6
        return [expert.strip(), gr.update(), gr.update(), gr.update(choices=self._choices(expert)), told, *kept]

    def previous(self, expert: str, cluster_id: int | None) -> list[Any]:
        return self._beside(expert, cluster_id, -1)

    def following(self, expert: str, cluster_id: int | None) -> list[Any]:
        return self._beside(expert, cluster_id, 1)

    def skip(self, expert: str, cluster_id: int | None, skipped: Sequence[int]) -> list[Any]:
        now = [*skipped, cluster_id] if cluster_id is not None else list(skipped)
        return [now, *self.show(expert, self._session.next_for(expert, set(now)))]

    def undo(self, expert: str, cluster_id: int | None) -> list[Any]:
        taken_back = self._session.undo(expert) if expert.strip() else None
        if taken_back is None:
            return ["There is no vote of yours to take back.", *self.show(expert, cluster_id)]
        return [f"Took back what you said last about cluster {taken_back}.", *self.show(expert, taken_back)]

    def show(self, expert: str, cluster_id: int | None) -> list[Any]:
        import gradio as gr

        choices = self._choices(expert)
        told = gr.update(value=told_progress(self._session.progress(expert)))
        if cluster_id is None:
            blank = [gr.update(value=None), gr.update(value=None, choices=[], visible=False)]
            blank += [gr.update(value=[]), gr.update(value=[], choices=[], visible=False)]
            return [
                "### Every cluster is labeled. Thank you.", None, gr.update(value=None, choices=choices), told, "",
                None, *blank,
            ]  # fmt: skip
        sheet = self._session.sheets[cluster_id]
        heading = f"### Cluster {cluster_id}: {sheet.n_images} images, {len(sheet.keys)} of them on this sheet"
        others = told_answers(self._session.answers_about(cluster_id)) if self._adjudicates else ""
        picked = gr.update(value=cluster_id, choices=choices)
        return [
            heading, str(sheet.path), picked, told, others, self._single(sheet), *self._prefilled(expert, cluster_id),
        ]  # fmt: skip

    def _prefilled(self, expert: str, cluster_id: int) -> list[Any]:
        import gradio as gr

        said = self._session.answers_of(expert, cluster_id)
        panel_type = next(iter(said.get(Question.PANEL_TYPE, ())), None)
        subtypes = self._session.taxonomy.panel_types.get(panel_type or "", [])
        primary = list(said.get(Question.PRIMARY_LABELS, ()))
        local = self._locals(primary)
        return [
            gr.update(value=panel_type),
            gr.update(
                value=next(iter(said.get(Question.PANEL_SUBTYPE, ())), None), choices=subtypes,
                visible=len(subtypes) > 1,
            ),
            gr.update(value=primary),
            gr.update(value=list(said.get(Question.SECONDARY_LABELS, ())), choices=local, visible=bool(local)),
        ]  # fmt: skip

    def _choices(self, expert: str) -> list[tuple[str, int]]:
        done, disputed = self._session.labeled_by(expert), set(self._session.disputed() if self._adjudicates else ())
        marks = {True: "✓ ", False: ""}
        return [
            (
                f"{marks[cluster in done]}{'⚠ ' if cluster in disputed else ''}{cluster} ({sheet.n_images} images)",
                cluster,
            )
            for cluster, sheet in self._session.sheets.items()
        ]

    def _next(self, expert: str) -> int | None:
        disputed = self._session.disputed() if self._adjudicates else []
        done = self._session.labeled_by(expert)
        return next((cluster for cluster in disputed if cluster not in done), self._session.next_for(expert))

    def _beside(self, expert: str, cluster_id: int | None, step: int) -> list[Any]:
        order = list(self._session.sheets)
        place = order.index(cluster_id) if cluster_id in order else -1
        return self.show(expert, order[(place + step) % len(order)] if order else None)

    def _single(self, sheet: Sheet) -> Any:
        if self._pictures is None:
            return None
        found = [
            (self._pictures.picture(key), caption) for key, caption in zip(sheet.keys, sheet.captions, strict=True)
        ]
        return [(picture, caption) for picture, caption in found if picture is not None]

    def _locals(self, primary: Sequence[str]) -> list[str]:
        return [local for name in primary for local in self._session.taxonomy.concepts[name].local]

    def subtypes(self, panel_type: str | None) -> Any:
        import gradio as gr

        choices = self._session.taxonomy.panel_types.get(panel_type or "", [])
        only = choices[0] if len(choices) == 1 else None
        return gr.update(choices=choices, value=only, visible=len(choices) > 1)

    def local_concepts(self, primary: Sequence[str], secondary: Sequence[str]) -> Any:
        import gradio as gr

        choices = self._locals(primary)
        kept = [local for local in secondary if local in choices]
        return gr.update(choices=choices, value=kept, visible=bool(choices))

    def save(
        self,
        expert: str,
        cluster_id: int | None,
        skipped: Sequence[int],
        panel_type: str | None,
        subtype: str | None,
        primary: Sequence[str],
        secondary: Sequence[str],
    ) -> list[Any]:
        import gradio as gr

        keep = [gr.update()] * _SHOWN
        if cluster_id is None or not panel_type or not primary:
            return ["Please answer questions 1 and 2 first.", *keep]
        answers = {
            Question.PANEL_TYPE: [panel_type],
            Question.PANEL_SUBTYPE: [subtype] if subtype else [],
            Question.PRIMARY_LABELS: list(primary),
            Question.SECONDARY_LABELS: list(secondary),
        }
        is_first = self._session.is_first_vote()
        try:
            path = self._session.take(expert, cluster_id, answers)
        except BallotError as error:
            return [f"Not saved: {error}.", *keep]
        message = f"Saved cluster {cluster_id} to {path.name}."
        if is_first:
            message += _FIRST_VOTE.format(progress=self._session.progress(expert))
        follower = self._next(expert) if self._adjudicates else self._session.next_for(expert, set(skipped))
        return [message, *self.show(expert, follower)]


def told_progress(progress: Progress) -> str:
    """A bar and what it means."""
    share = progress.done / max(progress.clusters, 1)
    full = f"<div style='width:{share:.1%};height:10px;background:#1a5fb4;border-radius:5px'></div>"
    bar = f"<div style='background:#e4e4e7;border-radius:5px'>{full}</div>"
    return (
        f"{bar}\n\nYou: {progress.done} of {progress.clusters} clusters. All experts: {progress.voted} clusters with "
        f"{progress.images_voted:,} of {progress.images:,} images ({progress.share:.0%})."
    )


def told_answers(said: Mapping[str, Answers]) -> str:
    """What each expert has said, as a table; questions with different answers are marked."""
    if not said:
        return "Nobody has voted on this cluster yet."
    disputed = disagreements(said)
    lines = [f"| question | {' | '.join(said)} |", f"|{' --- |' * (len(said) + 1)}"]
    for question in Question:
        told = [", ".join(answers.get(question, ())) or "–" for answers in said.values()]
        mark = "⚠ " if question in disputed else ""
        lines.append(f"| {mark}{question.value.replace('_', ' ')} | {' | '.join(told)} |")
    return "\n".join(lines)
