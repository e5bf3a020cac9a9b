"""Which samples a training sees: recipes over the metadata table, by DuckDB, without opening a shard.

BIOMEDICA names three recipes (full, concept-filtered, concept-balanced) and publishes none of their definitions. Those
in conf/ are ours, written out so that a result can be repeated; they do not claim to be the authors'.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeAlias

import pyarrow as pa
from pydantic import Field

from biomedica_kedro.records import LicenseGroup, Options, Split
from biomedica_kedro.shards.sources import Source
from biomedica_kedro.stages.query import database, read_as, rows_of

if TYPE_CHECKING:
    import duckdb
    import pyarrow.dataset

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

Condition: TypeAlias = tuple[str, list[Any]]
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
        panels: take the panels cut out of figures, too, where the shards hold them (`shards.panels`).
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
    panels: bool = False
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


@dataclass(frozen=True, slots=True)
class Chosen:
    """What a recipe chose, in a database in scratch: at 24 million samples it is too much to hold.

    Attributes:
        options: the recipe.
        conditions: what it asks for, see `conditions_of`.
        database: closed when the manifest has been read to its end.
        connection: has the tables `dataset_metadata`, `selected` and `factors`.
    """

    options: SelectionOptions
    conditions: Sequence[Condition]
    database: ExitStack
    connection: duckdb.DuckDBPyConnection

    def counts(self) -> pa.Table:
        """Samples available and selected by split and concept: `COUNTS`."""
        return self.connection.sql(_COUNTED).to_arrow_table().cast(COUNTS)

    def captions(self, count: int) -> list[str]:
        """Captions of at most `count` training samples, always the same ones."""
        return [caption for (caption,) in self.connection.execute(_SAMPLED, {"n": count}).fetchall()]

    def manifest(self) -> pa.RecordBatchReader:
        """Rows of `MANIFEST`, sorted by shard and offset; read once, after which there is nothing left.

        The recipe's name stands in the schema's metadata.
        """
        schema = MANIFEST.with_metadata({RECIPE: self.options.recipe.encode()})
        return pa.RecordBatchReader.from_batches(schema, self._rows(schema))

    def _rows(self, schema: pa.Schema) -> Iterator[pa.RecordBatch]:
        with self.database:
            for rows in rows_of(self.connection.sql(_WEIGHTED)):
                yield rows.cast(schema)


def choose_samples(metadata: pa.Table | pyarrow.dataset.Dataset, options: SelectionOptions) -> Chosen:
    """Apply a recipe; the test split is never selected.

    Args:
        metadata: `dataset_metadata`; of files only the columns are read that the recipe asks for.
        options: the recipe.
    Raises:
        SelectionError: when nothing is left of the training split; says which condition took the most.
    """
    import duckdb

    recipe = options.chosen()
    stack = ExitStack()
    connection = stack.enter_context(database())
    read_as(connection, "dataset_metadata", metadata)
    columns = metadata.schema.names
    conditions = conditions_of(recipe, tell_panels="parent_key" in columns)
    values = [value for _, given in conditions for value in given]
    condition = " AND ".join(sql for sql, _ in conditions)
    checksum = "checksum" if "checksum" in columns else "NULL AS checksum"  # others publish none
    try:
        connection.execute(
            f"CREATE TABLE candidates AS SELECT {_KEPT}, {checksum} FROM dataset_metadata WHERE {condition}", values
        )
    except duckdb.Error as error:
        raise SelectionError(
            f"recipe {options.recipe!r}: the condition {recipe.where!r} failed: {_one_line(error)}; "
            f"columns are {', '.join(columns)}"
        ) from error
    connection.execute(_SELECTED, {"cap": recipe.cap or 2**62, "dedup": recipe.drop_duplicates})
    connection.execute("DROP TABLE candidates")
    factors = _factors(connection.sql(_IN_TRAINING).fetchall(), recipe.temperature)
    if not factors:
        raise SelectionError(_nothing_left(connection, options.recipe, conditions))
    connection.register("given_factors", pa.table({"concept": list(factors), "factor": list(factors.values())}))
    connection.execute("CREATE TABLE factors AS SELECT * FROM given_factors")
    return Chosen(options, conditions, stack, connection)


def select_samples(
    metadata: pa.Table | pyarrow.dataset.Dataset, options: SelectionOptions
) -> tuple[pa.Table, pa.Table]:
    """Manifest and counts of a choice that fits in memory; see `choose_samples`."""
    chosen = choose_samples(metadata, options)
    counts = chosen.counts()
    return chosen.manifest().read_all(), counts


def recipe_of(manifest: pa.Table) -> str | None:
    """Name of the recipe a manifest follows; None when it does not say."""
    name = (manifest.schema.metadata or {}).get(RECIPE)
    return None if name is None else str(name.decode())


def streamed_source(source: Source, recipe: Recipe) -> Source:
    """A source whose samples a recipe selects as they stream by, without a metadata table.

    Conditions are asked of each window; `temperature` becomes `Source.balance`, by counts that run along, unless the
    source states a balance of its own. License groups and panels are asked only where the recipe names them: shards of
    any origin need not tell. Duplicates are not looked for: that needs all samples at once.

    Raises:
        SelectionError: for a recipe with a cap, which needs the number of samples beforehand.
    """
    if recipe.cap is not None:
        raise SelectionError(
            f"cap {recipe.cap} needs a metadata table: index the shards (python -m biomedica_kedro.shards index), or "
            "use a lower temperature"
        )
    named = recipe.model_fields_set
    conditions = conditions_of(recipe, tell_panels="panels" in named)[1 if "license_groups" in named else 2 :]
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


_SAMPLED = f"""
WITH sampled AS (
    SELECT key FROM selected WHERE split = '{Split.TRAIN.value}' ORDER BY sha256(key), key LIMIT $n
)
SELECT caption FROM dataset_metadata WHERE key IN (SELECT key FROM sampled) ORDER BY sha256(key), key
"""
_KEPT = f"""
key, shard, "offset", n_bytes, split, license_group, coalesce(primary_label, '{UNLABELED}') AS concept,
length(caption) AS caption_length, md5_number(coalesce(sha256, key)) AS content
"""

# Duplicates and the cap concern training only: a validation split must not depend on the recipe's balance.
_SELECTED = f"""
CREATE TABLE selected AS
WITH firsts AS (SELECT split, content, min(key) AS key FROM candidates GROUP BY ALL),
unique_samples AS (
    SELECT * FROM candidates WHERE split <> '{Split.TRAIN.value}' OR NOT $dedup OR key IN (SELECT key FROM firsts)
), ranked AS (
    SELECT *, row_number() OVER (PARTITION BY split, concept ORDER BY sha256(key)) AS place FROM unique_samples
)
SELECT key, regexp_replace(shard, '\\.tar$', '') AS shard, "offset", n_bytes, split, concept, license_group,
    caption_length, checksum
FROM ranked WHERE place <= $cap OR split <> '{Split.TRAIN.value}'
"""
_IN_TRAINING = f"SELECT concept, count(*) FROM selected WHERE split = '{Split.TRAIN.value}' GROUP BY ALL ORDER BY ALL"
_WEIGHTED = f"""
SELECT selected.*, CASE WHEN split = '{Split.TRAIN.value}' THEN factor ELSE 1.0 END AS weight
FROM selected LEFT JOIN factors USING (concept) ORDER BY shard, "offset", key
"""
_COUNTED = f"""
WITH available AS (
    SELECT split, coalesce(primary_label, '{UNLABELED}') AS concept, count(*) AS available
    FROM dataset_metadata WHERE split IN {_SPLITS} GROUP BY ALL
), used AS (
    SELECT split, concept, count(*) AS selected,
        sum(CASE WHEN split = '{Split.TRAIN.value}' THEN factor ELSE 1.0 END) AS draws
    FROM selected LEFT JOIN factors USING (concept) GROUP BY ALL
)
SELECT split, concept, available, coalesce(selected, 0) AS selected, coalesce(draws, 0.0) AS draws_per_epoch
FROM available LEFT JOIN used USING (split, concept) ORDER BY split, available DESC, concept
"""


def conditions_of(recipe: Recipe, *, tell_panels: bool) -> list[Condition]:
    """A recipe's conditions in SQL, each with its values: the split, the licenses, and what the recipe asks for.

    Args:
        recipe: the recipe.
        tell_panels: whether the samples tell whether they are panels; those of others do not.
    """
    wished: list[Condition] = [
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
    if tell_panels and not recipe.panels:
        wished.append(("coalesce(parent_key, '') = ''", []))
    if recipe.captions_to is not None:
        wished.append(("length(caption) <= ?", [recipe.captions_to]))
    if recipe.published_until is not None:
        wished.append(("publication_date <= ?", [recipe.published_until]))
    if recipe.where is not None:
        wished.append((f"({recipe.where})", []))
    return wished


def _factors(counts: list[tuple[str, int]], temperature: float) -> dict[str, float]:
    """Expected draws of a sample of each concept in an epoch; its length is the same whatever the temperature."""
    total = sum(count for _, count in counts)
    wished = sum(count**temperature for _, count in counts)
    return {concept: count**temperature * (total / wished) / count for concept, count in counts}


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
