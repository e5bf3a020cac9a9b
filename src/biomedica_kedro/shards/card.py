"""The card (README) of the published data set, and the counts it is made from; all of it follows from the run."""

from __future__ import annotations

import html
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc

from biomedica_kedro.pmc.source import Origin
from biomedica_kedro.records import DATASET_METADATA, LicenseGroup, Options
from biomedica_kedro.shards.attribution import CHANGED, forbids_derivatives
from biomedica_kedro.shards.configurations import configurations
from biomedica_kedro.shards.fields import PUBLISHED_FIELDS
from biomedica_kedro.shards.publication import REFERENCES, folder_of, subset_of_file
from biomedica_kedro.shards.selection import KEPT_OUT, subset_of
from biomedica_kedro.stages import BatchFolder

if TYPE_CHECKING:
    import pandas as pd

UNLABELED = "(unlabeled)"
LICENSES = {
    "CC0": "https://creativecommons.org/publicdomain/zero/1.0/",
    **{f"CC {terms}": f"https://creativecommons.org/licenses/{terms.lower()}/4.0/" for terms in
       ("BY", "BY-SA", "BY-ND", "BY-NC", "BY-NC-SA", "BY-NC-ND")},
}  # fmt: skip

_TITLES = {
    Origin.EMBEDDED: "BIOMEDICA embedded corpus", Origin.CLOUD: "Figures of PubMed Central Open Access",
    Origin.MIRROR: "Figures of a mirror of PubMed Central", Origin.PACKAGES: "Figures of article packages",
}  # fmt: skip
_SUMMARIES = {
    Origin.EMBEDDED: "Synthetic articles and figures that the project draws itself, in the format of the real data "
    "set. No figure shows a patient, and no article was written by its authors.",
    Origin.CLOUD: "Image-caption pairs from the open access subset of PubMed Central, with the sentences that mention "
    "each figure and the metadata of the article.",
    Origin.MIRROR: "Image-caption pairs from articles in a mirror of PubMed Central, with the sentences that mention "
    "each figure and the metadata of the article.",
    Origin.PACKAGES: "Image-caption pairs from packages of articles in JATS, with the sentences that mention each "
    "figure and the metadata of the article.",
}
_DRAWN = re.compile(r"\b(?:embedded corpus|synthetic)\b", re.I)

_HOW_TO = """With Hugging Face datasets (`streaming=True` reads without a copy):

```python
from datasets import load_dataset

samples = load_dataset("{url}", "{subset}", split="{split}", streaming=True)
sample = next(iter(samples))
sample["{image}"], sample["{caption}"]
```

With this project, chosen by a condition on the metadata:

```python
from biomedica_kedro.shards.stream import stream

for sample in stream("{folder}", where="license_group = '{subset}' and width >= 32", seed=1):
    sample.image, sample.caption, sample.record
```

With webdataset; set `WDS_SECURE=1` before, as it otherwise runs commands that a URL asks for:

```python
import webdataset

for sample in webdataset.WebDataset("{shard}", shardshuffle=False).decode("pil"):
    sample["__key__"], sample["jpg"], sample["txt"], sample["json"]
```

The table alone, with DuckDB:

```python
import duckdb

duckdb.sql("select license_code, count(*) from '{metadata}' group by all").fetchall()
```

In the shards the image's member is named `.jpg` whatever its format, which `image_format` in the record names."""

_SIZES = ((1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (10**6, "100K<n<1M"),
          (10**7, "1M<n<10M"), (10**8, "10M<n<100M"))  # fmt: skip


class CardOptions(Options):
    """What the card says of the data set beyond what follows from the run.

    Attributes:
        title: shown as the heading; None gives the title of the source.
        summary: one paragraph; None says where the articles come from.
        url: where the data set is published: a folder, a URL, or "organization/name" on the Hugging Face hub.
        version: of the published data set.
    """

    title: str | None = None
    summary: str | None = None
    url: str = "path/of/this/folder"
    version: str = "1.0.0"


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What a run says of its data set.

    Attributes:
        title: heading.
        summary: one paragraph.
        url: where it is published.
        version: of the data set.
        origin: where the articles come from.
        has_parquet: whether the samples are written as Parquet with images, too.
        record: fields of every record.
        languages: of the articles, as ISO 639 codes.
    """

    title: str
    summary: str
    url: str
    version: str
    origin: Origin
    has_parquet: bool
    record: pa.Schema
    languages: Sequence[str] = ("en",)


def described(origin: Origin) -> tuple[str, str]:
    """Title and summary of a data set from this source."""
    return _TITLES[origin], _SUMMARIES[origin]


def facts_of(
    options: CardOptions,
    origin: Origin,
    listed: str | None,
    *,
    record: pa.Schema,
    has_parquet: bool,
    languages: Sequence[str] = ("en",),
) -> Facts:
    """What may be said of a data set from this source.

    Args:
        options: title, summary, address.
        origin: of the articles.
        listed: date of the newest change among the articles listed, if the source knows it.
        record: fields of every record.
        has_parquet: whether the samples are written as Parquet, too.
        languages: of the articles.
    Raises:
        ValueError: when title or summary call real articles embedded or synthetic, or embedded ones nothing of it.
    """
    own_title, own_summary = described(origin)
    title, summary = options.title or own_title, options.summary or own_summary
    is_called_drawn = bool(_DRAWN.search(f"{title} {summary}"))
    if is_called_drawn is not (origin is Origin.EMBEDDED):
        said = f"serialization.write_dataset_card says {title!r}: {summary!r}"
        if origin is Origin.EMBEDDED:
            raise ValueError(f"{said} but the corpus is drawn by the project: say that it is synthetic")
        raise ValueError(f"{said} but the articles come from a real source ({origin}): set title and summary to null")
    if listed and origin is not Origin.EMBEDDED:
        summary += f" Articles as the source listed them, the newest changed on {listed[:10]}."
    return Facts(
        title=title, summary=summary, url=options.url, version=options.version, origin=origin,
        has_parquet=has_parquet, record=record, languages=languages,
    )  # fmt: skip


def languages_of(metadata: BatchFolder) -> list[str]:
    """Languages of the articles, sorted, as far as they are codes that the hub knows ("en", "pt-BR" as "pt")."""
    found = pc.unique(metadata.table(columns=["language"])["language"]).to_pylist()
    codes = {re.split("[-_]", language.lower())[0] for language in found if language}
    return sorted(code for code in codes if re.fullmatch("[a-z]{2,3}", code))


def count_concepts(metadata: BatchFolder) -> pd.DataFrame:
    """Images per primary label and license group; an image with several labels counts for each."""
    table = metadata.table(columns=["primary_labels", "license_group"]).to_pandas()
    table["concept"] = [labels if len(labels) else [UNLABELED] for labels in table["primary_labels"]]
    counts = table.explode("concept").groupby(["concept", "license_group"]).size().unstack(fill_value=0)
    counts = counts.reindex(columns=list(LicenseGroup), fill_value=0)
    counts["total"] = counts.sum(axis=1)
    counts.columns = [str(column) for column in counts.columns]
    ordered: pd.DataFrame = counts.sort_values(["total", "concept"], ascending=[False, True]).reset_index()
    return ordered


def report_licenses(metadata: BatchFolder) -> pd.DataFrame:
    """Articles, images and bytes per subset, license and split."""
    columns = ["license_group", "license_code", "split", "article_id", "image_bytes", "attribution"]
    table = metadata.table(columns=columns).to_pandas()
    table["license_code"] = table["license_code"].fillna("")
    pairs = zip(table["license_code"], table["license_group"], strict=True)
    table["subset"] = [str(subset_of(code, group)) for code, group in pairs]
    table["license_code"] = table["license_code"].replace("", "(none)")
    table["resized"] = table["attribution"].str.endswith(CHANGED)
    groups = table.groupby(["subset", "license_code", "split"])
    report: pd.DataFrame = groups.agg(
        articles=("article_id", "nunique"),
        images=("article_id", "size"),
        image_bytes=("image_bytes", "sum"),
        resized=("resized", "sum"),
    ).reset_index()
    report["license_url"] = report["license_code"].map(LICENSES).fillna("")
    return report


def card_text(
    facts: Facts, audit: Mapping[str, Any], shard_index: pa.Table, licenses: pd.DataFrame, concepts: pd.DataFrame
) -> str:
    """The README of the published data set: a YAML header for the hub, then text and tables.

    Args:
        facts: what the run says of itself.
        audit: `audit_summary`.
        shard_index: a row a shard.
        licenses: from `report_licenses`.
        concepts: from `count_concepts`.
    """
    import yaml

    header = _header(facts, audit) | configurations(shard_index, facts.record, has_parquet=facts.has_parquet)
    by_group = licenses.groupby("subset")[["articles", "images"]].sum().reset_index()
    excluded = [{"reason": reason, "images": count} for reason, count in audit["excluded"].items()]
    sections = [
        f"# {facts.title}",
        facts.summary,
        f"{audit['published']:,} images with captions in {audit['shards']:,} shards, {audit['bytes']:,} bytes. Every "
        "shard was read back: checksums, keys, records and images agree with the index.",
        _panels_text(audit),
        "## How to read it",
        how_to_read(facts, _first(shard_index)),
        "## Licenses",
        "Each sample names the license of its article (`license_code`, `article_license`) and whom to name when it is "
        "used (`attribution`; all of a subset in `ATTRIBUTION-*.txt`). The subsets may be used alone. `ND` licenses "
        "do not let anybody share changed copies: crops and resized copies included.",
        _markdown(by_group),
        _markdown(licenses.drop(columns="image_bytes")),
        _derivatives_text(licenses),
        "## Concepts",
        _labels_text(facts, concepts),
        _markdown(concepts),
        "## What was left out",
        f"{sum(audit['excluded'].values()):,} of {audit['image_caption_pairs']:,} image-caption pairs are not published"
        f"; {audit['withdrawn']:,} samples still lie in a shard but are withdrawn: the metadata table lists them no "
        "more, and readers that go by it skip them.",
        _markdown_rows(excluded, ["reason", "images"]),
        _references_text(audit["excluded"]),
        "## Fields of a record",
        "The field names of the published BIOMEDICA data: " + ", ".join(f"`{name}`" for name in PUBLISHED_FIELDS) + ". "
        "What is not known is an empty text, an empty list, or -1, never null.",
        "## Columns of the metadata table",
        ", ".join(f"`{name}`" for name in DATASET_METADATA.names) + ".",
    ]
    text = yaml.safe_dump(header, sort_keys=False, allow_unicode=True)
    return f"---\n{text}---\n\n" + "\n\n".join(section for section in sections if section) + "\n"


def how_to_read(facts: Facts, first: str) -> str:
    """The snippets of the card, each whole in itself.

    Args:
        facts: the address, and what there is.
        first: file name of a shard.
    """
    is_repository = bool(re.fullmatch(r"[\w.-]+/[\w.-]+", facts.url)) and facts.url != CardOptions().url
    folder = f"hf://datasets/{facts.url}" if is_repository else facts.url
    subset = subset_of_file(first)
    shard = f"{folder}/{folder_of(subset, 'shards')}/{first}"
    metadata = f"{folder}/{folder_of(subset, 'metadata')}/*.parquet"
    columns = ("image", "caption") if facts.has_parquet else ("jpg", "txt")
    return _HOW_TO.format(
        url=facts.url, folder=folder, subset=subset, split=first.split("-")[2], shard=shard, metadata=metadata,
        image=columns[0], caption=columns[1],
    )  # fmt: skip


def _labels_text(facts: Facts, concepts: pd.DataFrame) -> str:
    if not set(concepts["concept"]) - {UNLABELED}:
        return "No image is labeled."
    given = "Labels were given to clusters of images and hold for the cluster, not for each image."
    return given + (" The votes they follow from are simulated." if facts.origin is Origin.EMBEDDED else "")


def _panels_text(audit: Mapping[str, Any]) -> str:
    """What the samples are that show a part of a figure."""
    if not audit["panels"]:
        return ""
    left_out = sum(audit["excluded_panels"].values())
    return (
        f"{audit['panels']:,} of them are panels of compound figures, cut out by a program and written anew without "
        "loss (PNG; whole figures keep their published bytes), each with the words of the caption that name it. "
        "`parent_key` is the key of the figure, which is published beside them in the same split; where it is empty "
        f"the sample is a figure. {left_out:,} panels were left out: with their figure, without words of their own, "
        "too small, or under a license that does not let anybody share changed copies."
    )


def _references_text(excluded: Mapping[str, int]) -> str:
    """What becomes of the figures that licenses keep out."""
    n_references = sum(excluded.get(reason, 0) for reason in KEPT_OUT)
    if not n_references:
        return ""
    return (
        f"{n_references:,} of them, kept out by their licenses, are named in `{REFERENCES}/*.parquet` without words "
        "and pixels: `python -m biomedica_kedro.shards refill` fills them in for whoever may read the articles."
    )


def _derivatives_text(licenses: pd.DataFrame) -> str:
    """How many images under ND licenses were resized after all, because the user answers for it."""
    resized = licenses[[forbids_derivatives(code) for code in licenses["license_code"]]]["resized"].sum()
    if not resized:
        return "No image under an ND license was changed."
    return f"{resized:,} images under ND licenses were resized: whoever published this data set answers for it."


def _first(shard_index: pa.Table) -> str:
    name: str = min(shard_index["shard"].to_pylist())
    return name


def _header(facts: Facts, audit: Mapping[str, Any]) -> dict[str, Any]:
    size = next((name for limit, name in _SIZES if audit["published"] < limit), "100M<n<1B")
    origin = {Origin.EMBEDDED: ["synthetic"], Origin.PACKAGES: []}.get(facts.origin, ["pubmed-central"])
    return {
        "pretty_name": facts.title,
        "license": "other",
        "license_name": "per-sample",
        "language": list(facts.languages),
        "task_categories": ["zero-shot-image-classification", "image-to-text", "text-to-image"],
        "tags": ["biology", "medical", "webdataset", *origin],
        "size_categories": [size],
    }


def _markdown(frame: pd.DataFrame) -> str:
    return _markdown_rows(frame.to_dict("records"), list(frame.columns))


def _markdown_rows(rows: Sequence[Mapping[Any, Any]], columns: list[str]) -> str:
    if not rows:
        return ""
    lines = ["| " + " | ".join(columns) + " |", "|" + " --- |" * len(columns)]
    lines += ["| " + " | ".join(_cell(row[column]) for column in columns) + " |" for row in rows]
    return "\n".join(lines)


def _cell(value: object) -> str:
    """A value as text of one table cell: no line breaks, no HTML, no column marks."""
    if isinstance(value, int):
        return f"{value:,}"
    return html.escape(" ".join(str(value).split()), quote=False).replace("|", "\\|")
