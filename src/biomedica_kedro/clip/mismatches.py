"""Pairs whose caption may belong to another image, for a person to look at: found in two ways.

A pair that a trained model finds unlike is judged among the others of its source: how much less alike image and caption
are than the image and the captions nearest to it, and the caption and the images nearest to it. So a picture that the
model knows little of is no candidate for that alone. But what training has seen often enough, it has learned, a wrong
caption, too. So the second way asks no model: where one image is there twice (by its perceptual hash) under captions
with few words in common, one of them is wrong.
Shapes: N pairs, E embedding.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from itertools import islice
from typing import TYPE_CHECKING, Any

import pyarrow as pa
import pyarrow.compute as pc
from pydantic import Field

from biomedica_kedro.records import DataError, Options
from biomedica_kedro.shards.samples import Sample

if TYPE_CHECKING:
    import torch
    from matplotlib.figure import Figure

logger = logging.getLogger(__name__)

MISMATCHES = pa.schema(
    [
        ("source", pa.string()),
        ("found_by", pa.string()),
        ("key", pa.string()),
        ("score", pa.float32()),
        ("caption", pa.string()),
        ("other_key", pa.string()),
        ("other_caption", pa.string()),
    ]
)
_NEIGHBORS = 10
_MOST_COPIED = 10_000
_WORD = re.compile(r"[^\W\d_]{3,}")

Place = tuple[str, int, int]
_AT_ONCE = 64
_ROWS_AT_ONCE = 512


class MismatchOptions(Options):
    """What is looked at, and how much of it is shown.

    Attributes:
        samples: most pairs of a source that the model compares with each other.
        shown: of each source and way of finding, the worst first.
        shared_words: copies of an image are told whose captions have at most this share of their words in common.
    """

    samples: int = Field(default=5000, ge=2, le=50_000)
    shown: int = Field(default=18, ge=1, le=100)
    shared_words: float = Field(default=0.25, ge=0, le=1)


def least_alike(
    checkpoint: Any, sources: Mapping[str, Iterable[Sample]], options: MismatchOptions
) -> tuple[pa.Table, list[Sample]]:
    """The pairs of each source that a model finds least alike.

    Args:
        checkpoint: see `checkpoints.find_checkpoint`.
        sources: samples by the name of where they come from.
        options: how many.
    Returns:
        `MISMATCHES`, the worst of each source first, and their samples.
    Raises:
        ModelError: when there is no model.
    """
    from biomedica_kedro.clip.checkpoints import find_checkpoint, load_model
    from biomedica_kedro.clip.images import Geometry

    model, _, tokenizer = load_model(checkpoint)
    geometry = Geometry.of(find_checkpoint(checkpoint)[1]["preprocess_cfg"])
    rows: list[dict[str, Any]] = []
    shown: list[Sample] = []
    for source, samples in sources.items():
        kept, image_NE, text_NE = _encoded(islice(samples, options.samples), model, geometry, tokenizer)
        for place, other, margin in islice(_worst(image_NE, text_NE), options.shown):
            rows.append(_row(source, "model", margin, kept[place], kept[other]))
            shown.append(kept[place])
    return pa.Table.from_pylist(rows, schema=MISMATCHES), shown


def find_unlike_copies(metadata: Any, source: str, options: MismatchOptions) -> tuple[pa.Table, list[Place]]:
    """Images that are there twice under captions with few words in common.

    Args:
        metadata: `dataset_metadata`.
        source: its name.
        options: how many; at most 10,000 images that are there twice are looked at.
    Returns:
        `MISMATCHES`, two rows a pair of copies, the fewest common words first; and where their samples lie: shard,
        offset and bytes.
    """
    from biomedica_kedro.shards.index import select_samples

    counts = pc.value_counts(select_samples(metadata, "phash IS NOT NULL", ["phash"])["phash"])
    twice = sorted(row["values"] for row in counts.to_pylist() if row["counts"] > 1)[:_MOST_COPIED]
    listed = ", ".join(f"'{value}'" for value in twice)
    columns = ["phash", "key", "caption", "shard", "offset", "n_bytes"]
    table = select_samples(metadata, f"phash IN ({listed})" if twice else "false", columns)
    first: dict[str, dict[str, Any]] = {}
    pairs = []
    for row in table.sort_by([("phash", "ascending"), ("key", "ascending")]).to_pylist():
        one = first.setdefault(row["phash"], row)
        if one is not row and (share := _shared_words(one["caption"], row["caption"])) <= options.shared_words:
            pairs.append((share, one, row))
    worst = sorted(pairs, key=lambda pair: (pair[0], pair[1]["key"], pair[2]["key"]))[: options.shown // 2]
    told = [(share, *turned) for share, one, two in worst for turned in ((one, two), (two, one))]
    rows = [
        {
            "source": source, "found_by": "copies", "score": share, "key": one["key"], "caption": one["caption"],
            "other_key": other["key"], "other_caption": other["caption"],
        }
        for share, one, other in told
    ]  # fmt: skip
    places = [(one["shard"], one["offset"], one["n_bytes"]) for _, one, _ in told]
    return pa.Table.from_pylist(rows, schema=MISMATCHES), places


def draw_mismatches(found: pa.Table, samples: list[Sample]) -> Figure:
    """The pairs as pictures: above how they were found, with which score, below the caption."""
    from biomedica_kedro.shards.contact_sheet import sheet_of

    titles = [f"{row['found_by']} {row['score']:.2f}\n{row['key']}" for row in found.to_pylist()]
    pictures = [(sample.image, title, sample.caption) for sample, title in zip(samples, titles, strict=True)]
    return sheet_of(pictures)


def _encoded(
    samples: Iterable[Sample], model: Any, geometry: Any, tokenizer: Any
) -> tuple[list[Sample], torch.Tensor, torch.Tensor]:
    """Samples whose image opens, with the features of their images and captions, (N, E) each."""
    import torch

    from biomedica_kedro.clip.images import normalize

    kept, images, texts = [], [torch.empty(0, 0)], [torch.empty(0, 0)]
    for squares, part in _squares(samples, geometry):
        with torch.inference_mode():
            images.append(model.encode_image(normalize(torch.stack(squares), geometry), normalize=True).float())
            texts.append(model.encode_text(tokenizer([sample.caption for sample in part]), normalize=True).float())
        kept += part
    first = 1 if kept else 0
    return kept, torch.cat(images[first:]), torch.cat(texts[first:])


def _squares(samples: Iterable[Sample], geometry: Any) -> Iterator[tuple[list[Any], list[Sample]]]:
    from biomedica_kedro.clip.images import decode, to_square

    squares: list[Any] = []
    part: list[Sample] = []
    for sample in samples:
        try:
            squares.append(to_square(decode(sample.image), geometry))
        except DataError as error:
            logger.warning("not looked at: %s: %s", sample.key, error)
            continue
        part.append(sample)
        if len(part) == _AT_ONCE:
            yield squares, part
            squares, part = [], []
    if part:
        yield squares, part


def _worst(image_NE: torch.Tensor, text_NE: torch.Tensor) -> Iterator[tuple[int, int, float]]:
    """Place of each pair, of the nearest other caption, and its margin; the least margin first."""
    import torch

    if len(image_NE) < 2:
        return
    own_N = (image_NE * text_NE).sum(dim=1)
    expected_N, nearest_N = _neighborhood(image_NE, text_NE)
    expected_of_text_N, _ = _neighborhood(text_NE, image_NE)
    margin_N = own_N - (expected_N + expected_of_text_N) / 2
    for place in torch.argsort(margin_N, stable=True).tolist():
        yield place, int(nearest_N[place]), float(margin_N[place])


def _row(source: str, found_by: str, score: float, sample: Sample, other: Sample) -> dict[str, Any]:
    return {
        "source": source, "found_by": found_by, "score": score, "key": sample.key, "caption": sample.caption,
        "other_key": other.key, "other_caption": other.caption,
    }  # fmt: skip


def _shared_words(first: str, second: str) -> float:
    """Share of the words of two captions that both have (Jaccard)."""
    one, two = (set(_WORD.findall(caption.lower())) for caption in (first, second))
    return len(one & two) / max(1, len(one | two))


def _neighborhood(query_NE: torch.Tensor, target_NE: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Mean similarity of each query to its nearest other targets, and the nearest of all."""
    import torch

    means, nearest = [], []
    for first in range(0, len(query_NE), _ROWS_AT_ONCE):
        similarity = query_NE[first : first + _ROWS_AT_ONCE] @ target_NE.T
        similarity.diagonal(first).fill_(-torch.inf)
        values, places = similarity.topk(min(_NEIGHBORS, len(target_NE) - 1), dim=1)
        means.append(values.mean(dim=1))
        nearest.append(places[:, 0])
    return torch.cat(means), torch.cat(nearest)
