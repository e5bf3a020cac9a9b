"""Which samples a training sees: recipes over the metadata table, by DuckDB, without opening a shard.

BIOMEDICA names three recipes (full, concept-filtered, concept-balanced) and publishes none of their definitions. Those
in conf/ are ours, written out so that a result can be repeated; they do not claim to be the authors'.
"""

from __future__ import annotations

from typing import Any

import pyarrow as pa
from pydantic import Field

from biomedica_kedro.records import LicenseGroup, Options, Split
from biomedica_kedro.shards.sources import Source

_S, _I64 = pa.string(), pa.int64()
MANIFEST = pa.schema(
    [
        ("key", _S), ("shard", _S), ("offset", _I64), ("n_bytes", _I64), ("split", _S), ("concept", _S),
        ("license_group", _S), ("caption_length", _I64), ("checksum", _I64), ("weight", pa.float32()),
    ]
)  # fmt: skip
RECIPE = b"recipe"  # in the metadata of a manifest's schema: the name of the recipe it follows
COUNTS = pa.schema(
    [("split", _S), ("concept", _S), ("available", _I64), ("selected", _I64), ("draws_per_epoch", pa.float64())]
)

UNLABELED = "unlabeled"
_SPLITS = f"('{Split.TRAIN.value}', '{Split.VALIDATION.value}')"


class SelectionError(Exception):
    """A recipe selects nothing or cannot be read; says what to change."""


class Recipe(Options):
    """One rule of selection; every condition must hold.

    Attributes:
        license_groups: groups that may be used.
        concepts: primary labels to keep; null keeps all, unlabeled samples too.
        without_concepts: primary labels to drop.
        panel_types: panel types to keep; null keeps all.
        captions_from: fewest characters of a caption.
        captions_to: most characters of a caption.
        published_until: last publication date, e.g. "2023-12-31"; for a cut before a benchmark's publication.
        drop_duplicates: keep one training sample of those with the same image bytes.
        where: any further SQL condition over `dataset_metadata`; may read files, e.g.
            "sha256 NOT IN (SELECT sha256 FROM 'contaminated.parquet')".
        cap: most samples of one concept; the surplus is dropped by a hash of the key.
        temperature: how strongly frequent concepts weigh: 1 as they are, 0 all concepts alike.
    """

    license_groups: list[LicenseGroup] = Field(default=list(LicenseGroup))
    concepts: list[str] | None = None
    without_concepts: list[str] = Field(default=[])
    panel_types: list[str] | None = None
    captions_from: int = Field(default=1, ge=0)
    captions_to: int | None = Field(default=None, ge=1)
    published_until: str | None = Field(default=None, pattern=r"^\d{4}(-\d{2}(-\d{2})?)?$")
    drop_duplicates: bool = True
    where: str | None = None
    cap: int | None = Field(default=None, ge=1)
    temperature: float = Field(default=1.0, ge=0, le=1)


class SelectionOptions(Options):
    """The recipe in use, and the recipes there are.

    Attributes:
        recipe: name of the one in use.
        recipes: by name.
        context_lengths: of text towers, for the report of what each would cut from the captions.
        captions_measured: most captions that report looks at, chosen by a hash of the key.
    """

    recipe: str = "full"
    context_lengths: list[int] = Field(default=[77, 256, 512])
    captions_measured: int = Field(default=5000, ge=1)
    recipes: dict[str, Recipe] = Field(default={"full": Recipe()})

    def chosen(self) -> Recipe:
        """The recipe in use.

        Raises:
            SelectionError: when there is none of that name.
        """
        if self.recipe not in self.recipes:
            raise SelectionError(
                f"no recipe {self.recipe!r} in select_training_samples.recipes: {sorted(self.recipes)}"
            )
        return self.recipes[self.recipe]


def select_samples(metadata: pa.Table, options: SelectionOptions) -> tuple[pa.Table, pa.Table]:
    """Apply a recipe; the test split is never selected.

    Args:
        metadata: `dataset_metadata`.
        options: the recipe.
    Returns:
        The manifest (`MANIFEST`, sorted by shard and offset, with the recipe's name in the schema's metadata) and the
        counts (`COUNTS`).
    Raises:
        SelectionError: when nothing is left of the training split; says which condition took the most.
    """
    import duckdb

    recipe = options.chosen()
    connection = duckdb.connect(config={"threads": 1})
    if "checksum" not in metadata.column_names:  # a table that others published
        metadata = metadata.append_column("checksum", pa.nulls(len(metadata), _I64))
    connection.register("dataset_metadata", metadata)
    conditions = conditions_of(recipe)
    values = [value for _, given in conditions for value in given]
    condition = " AND ".join(sql for sql, _ in conditions)
    try:
        connection.execute(
            f"CREATE TABLE candidates AS SELECT *, coalesce(primary_label, '{UNLABELED}') AS concept "
            f"FROM dataset_metadata WHERE {condition}",
            values,
        )
    except duckdb.Error as error:
        raise SelectionError(
            f"recipe {options.recipe!r}: the condition {recipe.where!r} failed: {_one_line(error)}; "
            f"columns are {', '.join(metadata.column_names)}"
        ) from error
    selected = connection.sql(_SELECTED, params={"cap": recipe.cap or 2**62, "dedup": recipe.drop_duplicates})
    rows = selected.to_arrow_table()
    manifest = _with_weights(rows, recipe.temperature)
    if not manifest.filter(pa.compute.field("split") == Split.TRAIN.value).num_rows:
        raise SelectionError(_nothing_left(connection, options.recipe, conditions))
    connection.register("manifest", manifest)
    counts = connection.sql(_COUNTED).to_arrow_table().cast(COUNTS)
    return manifest.replace_schema_metadata({RECIPE: options.recipe.encode()}), counts


def recipe_of(manifest: pa.Table) -> str | None:
    """Name of the recipe a manifest follows; None when it does not say."""
    name = (manifest.schema.metadata or {}).get(RECIPE)
    return None if name is None else str(name.decode())


def streamed_source(source: Source, recipe: Recipe) -> Source:
    """A source whose samples a recipe selects as they stream by, without a metadata table.

    Conditions are asked of each window; `temperature` becomes `Source.balance`, by counts that run along, unless the
    source states a balance of its own. License groups are asked only where the recipe names them: shards of any origin
    need not tell. Duplicates are not looked for: that needs all samples at once.

    Raises:
        SelectionError: for a recipe with a cap, which needs the number of samples beforehand.
    """
    if recipe.cap is not None:
        raise SelectionError(
            f"cap {recipe.cap} needs a metadata table: index the shards (python -m biomedica_kedro.shards index), or "
            "use a lower temperature"
        )
    named = recipe.model_fields_set
    conditions = conditions_of(recipe)[1 if "license_groups" in named else 2 :]
    asked = [_with_values(sql, values) for sql, values in conditions]
    own = [] if source.where is None else [f"({source.where})"]
    balance = source.balance if "balance" in source.model_fields_set else recipe.temperature
    return source.model_copy(update={"where": " AND ".join([*own, *asked]), "balance": balance})


def _with_values(sql: str, values: list[Any]) -> str:
    for value in values:
        sql = sql.replace("?", _literal(value), 1)
    return sql


def _literal(value: Any) -> str:
    if isinstance(value, list):
        return f"[{', '.join(_literal(part) for part in value)}]::VARCHAR[]"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value)


def sampled_captions(metadata: pa.Table, manifest: pa.Table, count: int) -> list[str]:
    """Captions of at most `count` training samples of a manifest, always the same ones."""
    import duckdb

    connection = duckdb.connect(config={"threads": 1})
    connection.register("dataset_metadata", metadata)
    connection.register("manifest", manifest)
    return [caption for (caption,) in connection.execute(_SAMPLED, {"n": count}).fetchall()]


_SAMPLED = f"""
SELECT caption FROM dataset_metadata
WHERE key IN (SELECT key FROM manifest WHERE split = '{Split.TRAIN.value}') ORDER BY sha256(key), key LIMIT $n
"""

# Duplicates and the cap concern training only: a validation split must not depend on the recipe's balance.
_SELECTED = f"""
WITH unique_samples AS (
    SELECT *, row_number() OVER (PARTITION BY split, coalesce(sha256, key) ORDER BY key) AS copy FROM candidates
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY split, concept ORDER BY sha256(key)) AS place
    FROM unique_samples WHERE copy = 1 OR NOT $dedup OR split <> '{Split.TRAIN.value}'
)
SELECT key, regexp_replace(shard, '\\.tar$', '') AS shard, "offset", n_bytes, split, concept, license_group,
    caption_length, checksum
FROM ranked WHERE place <= $cap OR split <> '{Split.TRAIN.value}'
ORDER BY shard, "offset", key
"""
_COUNTED = f"""
WITH available AS (
    SELECT split, coalesce(primary_label, '{UNLABELED}') AS concept, count(*) AS available
    FROM dataset_metadata WHERE split IN {_SPLITS} GROUP BY ALL
), used AS (
    SELECT split, concept, count(*) AS selected, sum(weight) AS draws FROM manifest GROUP BY ALL
)
SELECT split, concept, available, coalesce(selected, 0) AS selected, coalesce(draws, 0.0) AS draws_per_epoch
FROM available LEFT JOIN used USING (split, concept) ORDER BY split, available DESC, concept
"""


def conditions_of(recipe: Recipe) -> list[tuple[str, list[Any]]]:
    """A recipe's conditions in SQL, each with its values: the split, the licenses, and what the recipe asks for."""
    wished: list[tuple[str, list[Any]]] = [
        (f"split IN {_SPLITS}", []),
        ("list_contains(?, license_group)", [[group.value for group in recipe.license_groups]]),
        ("length(caption) >= ?", [recipe.captions_from]),
    ]
    if recipe.concepts is not None:
        wished.append(("list_contains(?, primary_label)", [recipe.concepts]))
    if recipe.without_concepts:
        wished.append(("NOT coalesce(list_contains(?, primary_label), false)", [recipe.without_concepts]))
    if recipe.panel_types is not None:
        wished.append(("list_contains(?, panel_type)", [recipe.panel_types]))
    if recipe.captions_to is not None:
        wished.append(("length(caption) <= ?", [recipe.captions_to]))
    if recipe.published_until is not None:
        wished.append(("publication_date <= ?", [recipe.published_until]))
    if recipe.where is not None:
        wished.append((f"({recipe.where})", []))
    return wished


def _with_weights(rows: pa.Table, temperature: float) -> pa.Table:
    """Expected draws of a sample in an epoch; an epoch keeps its length whatever the temperature."""
    import numpy as np

    concepts = rows["concept"].combine_chunks().dictionary_encode()
    in_training = np.asarray(rows["split"]) == Split.TRAIN.value
    places = concepts.indices.to_numpy(zero_copy_only=False)
    counts = np.bincount(places[in_training], minlength=len(concepts.dictionary)).astype(np.float64)
    wished = np.where(counts > 0, np.maximum(counts, 1) ** temperature, 0.0)
    per_sample = wished * (in_training.sum() / max(wished.sum(), 1)) / np.maximum(counts, 1)
    weights = np.where(in_training, per_sample[places] if len(places) else 1.0, 1.0)
    return rows.append_column("weight", pa.array(weights, pa.float32())).cast(MANIFEST)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split())


def _nothing_left(connection: Any, recipe: str, conditions: list[tuple[str, list[Any]]]) -> str:
    split = f"split = '{Split.TRAIN.value}'"
    counts = []
    for sql, values in conditions[1:]:
        query = f"SELECT count(*) FROM dataset_metadata WHERE {split} AND {sql}"
        counts.append(f"{sql} {values or ''}: {connection.execute(query, values).fetchone()[0]}")
    total = connection.execute(f"SELECT count(*) FROM dataset_metadata WHERE {split}").fetchone()[0]
    return (
        f"recipe {recipe!r} selects none of the {total} training samples; each condition alone leaves "
        f"{'; '.join(counts)}. Loosen the smallest in conf/base/parameters/modeling.yml"
    )
