"""What the page says of an image, as HTML; every text of an article is escaped."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Any

from biomedica_kedro.archive.way import Step

Row = Mapping[str, Any]
_SHORT = 90


def card(row: Row, found: str) -> str:
    """Caption, mentions, license, attribution, labels and link of an image.

    Args:
        row: of the index.
        found: how it was found.
    """
    labels = [*row["primary_labels"], *row["secondary_labels"]]
    panels = " / ".join(part for part in (row["panel_type"], row["panel_subtype"]) if part)
    license_ = f"{row['license_code'] or 'no license stated'} ({row['license_group']})"
    parts = [
        f"<h3>{_text(row['title'] or row['article_id'])}</h3>",
        f"<p class='caption'><b>{_text(row['label'] or 'Figure')}</b> {_text(row['caption'])}</p>",
        _details("Mentions in the article", (row["mentions"] or "").split("\n\n")),
        "<p class='labels'>" + "".join(f"<span class='label'>{_text(name)}</span>" for name in labels) + "</p>",
        _facts({"Panels": panels, "License": license_, "Split": row["split"] or "not published", "Found": found}),
        f"<p class='attribution'>{_text(row['attribution'])}</p>",
        _link(row["link"]),
        f"<p class='key'>{_text(row['key'])}</p>",
    ]
    return "<div class='card'>" + "".join(parts) + "</div>"


def way_list(steps: Iterable[Step]) -> str:
    """The way through the stages."""
    rows = "".join(f"<tr><td><code>{_text(step.stage)}</code></td><td>{_text(step.told)}</td></tr>" for step in steps)
    return f"<table class='way'>{rows}</table>"


def reject_card(row: Row, link: str) -> str:
    """What left the flow, where and why."""
    facts = _facts({"Stage": row["stage"], "Reason": row["reason"], "Detail": row["detail"] or "none"})
    return f"<div class='card'><h3>{_text(row['source'])}</h3>{facts}{_link(link)}</div>"


def short(row: Row) -> str:
    """Line under an image in the results."""
    text = row["caption"] or row["key"]
    cut = text if len(text) <= _SHORT else f"{text[:_SHORT].rsplit(' ', 1)[0]} …"
    return f"{cut} [{row['license_code'] or 'no license'}]"


def how_found(row: Row) -> str:
    """Why a search gave a row: its places in the lists."""
    parts = []
    if row["words_rank"] is not None:
        parts.append(f"place {row['words_rank']} by words")
    if row["image_rank"] is not None:
        parts.append(f"place {row['image_rank']} by looks (similarity {row['similarity']:.2f})")
    return ", ".join(parts) or "meets the filters"


def _facts(facts: Mapping[str, str]) -> str:
    rows = "".join(f"<tr><th>{_text(name)}</th><td>{_text(value)}</td></tr>" for name, value in facts.items() if value)
    return f"<table class='facts'>{rows}</table>"


def _details(title: str, texts: Sequence[str]) -> str:
    told = [text for text in texts if text]
    if not told:
        return ""
    body = "".join(f"<p>{_text(text)}</p>" for text in told)
    return f"<details><summary>{_text(title)} ({len(told)})</summary>{body}</details>"


def _link(url: str) -> str:
    is_web = url.startswith(("https://", "http://"))
    return f"<p><a href='{escape(url)}' target='_blank' rel='noopener'>{_text(url)}</a></p>" if is_web else ""


def _text(text: object) -> str:
    return escape(str(text))


STYLE = """
.card h3 {margin: 0 0 .3em 0; font-size: 1.05em}
.card .label {background: #1a5fb4; color: white; border-radius: 9px; padding: 1px 9px}
.card .label {margin: 0 5px 3px 0; display: inline-block}
.card .attribution, .card .key {font-size: .85em; opacity: .8}
.card table.facts th, table.way td {text-align: left; padding: 1px 10px 1px 0; vertical-align: top}
"""
