"""From what somebody clicked to an SQL condition, and from a condition to a recipe that training takes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from biomedica_kedro.archive.index import quoted

LISTS = ("primary_labels", "secondary_labels")


def where_of(chosen: Mapping[str, Sequence[str]], since: str = "", until: str = "") -> str | None:
    """The condition that chosen values of facets mean; None when nothing is chosen.

    Args:
        chosen: by column; values of one column are alternatives. "" stands for what is not known.
        since: first date, "2015" or "2015-03-31".
        until: last date; "2015" includes the whole year.
    Example:
        >>> where_of({"license_group": ["commercial"], "primary_labels": ["Maps"]}, since="2015")
        "license_group = 'commercial' AND list_contains(primary_labels, 'Maps') AND publication_date >= '2015'"
    """
    parts = [_alternatives(column, values) for column, values in chosen.items() if values]
    if since.strip():
        parts.append(f"publication_date >= {quoted(since.strip())}")
    if until.strip():
        parts.append(f"publication_date <= {quoted(until.strip() + '~')}")  # "~" sorts after "-" and digits
    return " AND ".join(parts) or None


def where_keys(keys: Sequence[str]) -> str:
    """The condition that takes just these pairs."""
    return f"key IN ({', '.join(quoted(key) for key in keys)})"


def recipe_of(name: str, where: str) -> str:
    """A recipe for conf/local/parameters_modeling.yml that trains on what meets a condition."""
    import yaml

    recipes = {"recipe": name, "recipes": {name: {"where": where}}}
    return yaml.safe_dump({"modeling": {"select_training_samples": recipes}}, sort_keys=False, width=110)


def _alternatives(column: str, values: Sequence[str]) -> str:
    if column in LISTS:
        tests = [f"list_contains({column}, {quoted(value)})" for value in values]
    else:
        tests = [f"{column} = {quoted(value)}" if value else f"{column} IS NULL" for value in values]
    return tests[0] if len(tests) == 1 else f"({' OR '.join(tests)})"
