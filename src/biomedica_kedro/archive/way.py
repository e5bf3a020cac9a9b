"""Why an image is here: what each stage found and decided, read from the tables that the stages left."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import pyarrow.compute as pc

from biomedica_kedro.stages import WHOLE, BatchFolder
from biomedica_kedro.stages.place import Place

Row = Mapping[str, Any]


class Step(NamedTuple):
    """What one stage did."""

    stage: str
    told: str


@dataclass(frozen=True, slots=True)
class _Asked:
    """One image, and the data root it is asked about in."""

    root: Place
    row: Row

    def one(self, data_set: str, batch: str | None = None, **where: object) -> Row | None:
        """The row of a batch that meets equalities; None when there is none, or no such data set."""
        folder = BatchFolder(self.root / data_set)
        batch = batch or self.row["batch"]
        if folder.commit(batch) is None or not folder.file(batch).is_file():
            return None
        table = folder.table(batch)
        for name, value in where.items():
            table = table.filter(pc.equal(table[name], value))
        rows: list[Row] = table.slice(0, 1).to_pylist()
        return rows[0] if rows else None

    def rejected(self, data_set: str) -> Row | None:
        """The reject of this image in a data set."""
        path = BatchFolder(self.root / data_set).beside(self.row["batch"], "rejects.parquet")
        if not path.is_file():
            return None
        from biomedica_kedro.stages.parquet import read_parquet

        table = read_parquet(path)
        rows: list[Row] = table.filter(pc.equal(table["source"], self.row["key"])).to_pylist()
        return rows[0] if rows else None


def way_of(row: Row, root: Place) -> list[Step]:
    """The way of an image through the stages, as far as they have run.

    Args:
        row: of the index.
        root: the data root.
    """
    asked = _Asked(root, row)
    return [Step(stage, told) for stage, tell in _TELLERS.items() for told in tell(asked)]


def _selected(asked: _Asked) -> Iterator[str]:
    article = asked.one("02_intermediate/articles", article_id=asked.row["article_id"])
    if article is not None:
        yield f"{article['article_id']} of {article['journal']}, {article['publication_date']}, {_license(article)}"
        if article["warnings"]:
            yield f"reading it gave warnings: {', '.join(sorted(set(article['warnings'])))}"


def _parsed(asked: _Asked) -> Iterator[str]:
    pair = asked.one("03_primary/image_caption_pairs", key=asked.row["key"])
    own = {} if pair is None else {"article_id": pair["article_id"], "figure_id": pair["figure_id"]}
    figure = asked.one("02_intermediate/figures", **own) if own else None
    if figure is not None:
        mentions = figure["mentions"] or []
        ways = ", ".join(sorted({mention["via"] for mention in mentions})) or "none"
        yield f"{figure['kind']} {figure['label'] or figure['figure_id']}, {len(mentions)} mentions (found by: {ways})"


def _verified(asked: _Asked) -> Iterator[str]:
    wanted = {"article_id": asked.row["article_id"], "file_name": asked.row["file_name"]}
    image = asked.one("02_intermediate/figure_images", **wanted)
    if image is not None:
        size = f"{image['width']} x {image['height']} pixels, {image['mode']}, {image['n_bytes']:,} bytes"
        yield f"{image['file_name']} is a whole {image['format']}, {size}"


def _paired(asked: _Asked) -> Iterator[str]:
    row = asked.row
    yield f"caption of {len(row['caption']):,} characters, figure under {row['license_code'] or 'no stated license'}"


def _panels(asked: _Asked) -> Iterator[str]:
    found = asked.one("04_feature/detected_panels", key=asked.row["key"])
    if found is not None:
        kind = "several panels" if found["is_multiple"] else "one panel"
        yield f"{kind}, {found['n_panels']} found (score {found['score']:.2f})"


def _corrected(asked: _Asked) -> Iterator[str]:
    found = asked.one("04_feature/image_panels", key=asked.row["key"])
    if found is not None and found["corrected_by"]:
        yield f"{found['n_panels']} panels as {found['corrected_by']} drew them"


def _clustered(asked: _Asked) -> Iterator[str]:
    found = asked.one("04_feature/cluster_assignments", key=asked.row["key"])
    if found is None:
        return
    yield f"cluster {found['cluster_id']} at distance {found['distance']:.3f}; the next is {found['second_cluster_id']}"


def _voted(asked: _Asked) -> Iterator[str]:
    found = asked.one("04_feature/cluster_labels", WHOLE, cluster_id=asked.row["cluster_id"])
    if found is not None:
        agreed = "" if found["agreement"] is None else f", agreement {found['agreement']:.2f}"
        yield f"{found['n_experts']} experts: {found['status'].replace('_', ' ')}{agreed}"
        yield from found["notes"] or ()


def _labeled(asked: _Asked) -> Iterator[str]:
    row = asked.row
    if row["primary_labels"]:
        sure = "" if row["label_confidence"] is None else f", confidence {row['label_confidence']:.2f}"
        yield f"{', '.join([*row['primary_labels'], *row['secondary_labels']])}{sure}"


def _duplicates(asked: _Asked) -> Iterator[str]:
    found = asked.one("04_feature/duplicate_groups", WHOLE, key=asked.row["key"])
    if found is None:
        return
    kept = "is kept" if found["is_kept"] else "is not kept"
    yield f"one of {found['group_size']} alike ({found['relation']} of {found['group_key']}), {kept}"


def _published(asked: _Asked) -> Iterator[str]:
    prepared = "05_model_input/prepared_samples"
    found, reject = asked.one(prepared, key=asked.row["key"]), asked.rejected(prepared)
    if found is not None:
        yield f"published in the subset {found['subset']}, split {found['split']}"
    elif reject is not None:
        yield f"not published: {reject['reason']}, {reject['detail']}"


def _sharded(asked: _Asked) -> Iterator[str]:
    found = asked.one("05_model_input/shard_assignments", WHOLE, key=asked.row["key"])
    if found is not None:
        yield f"in shard {found['shard']}"


def _license(article: Row) -> str:
    return f"license {article['license_code'] or 'not stated'} ({article['license_group']})"


_TELLERS: Mapping[str, Callable[[_Asked], Iterator[str]]] = {
    "select_articles": _selected,
    "parse_articles": _parsed,
    "verify_images": _verified,
    "pair_images_with_captions": _paired,
    "detect_panels": _panels,
    "correct_panels": _corrected,
    "assign_clusters": _clustered,
    "resolve_expert_votes": _voted,
    "propagate_labels": _labeled,
    "group_duplicates": _duplicates,
    "prepare_samples": _published,
    "write_shards": _sharded,
}
