"""YAML files and parameters of users: safe, strict, and checked against a model whose complaints are plain words.

Plain YAML lets the second of two equal keys win without a word, and a misspelt key vanish. Here both are errors that
name the file, the key and the close match.
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError
from pydantic.errors import PydanticInvalidForJsonSchema

_MERGE = "tag:yaml.org,2002:merge"
_LONGEST = 60
_KINDS = {
    "string": "a string", "integer": "a whole number", "number": "a number", "boolean": "true or false",
    "object": "keys and values", "null": "null",
}  # fmt: skip

# libyaml where PyYAML has it: a run reads the task files several times, 0.2 s each in Python alone
_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)

Model = TypeVar("Model", bound=BaseModel)


class YamlFileError(ValueError):
    """A YAML file is wrong: says which file, which key, what is allowed."""


def read_yaml(path: Path, model: type[Model]) -> Model:
    """Read one YAML file into a model.

    Raises:
        YamlFileError: naming the file, the key or the line, and what is allowed there.
    """
    try:
        with path.open("rb") as file:
            content = yaml.load(file, Loader=_UniqueKeys)
    except yaml.YAMLError as error:
        raise YamlFileError(f"{path}: not valid YAML: {error}") from error
    if not isinstance(content, dict):
        kind = "an empty file" if content is None else f"a {type(content).__name__}"
        raise YamlFileError(f"{path}: expected keys and values, found {kind}")
    try:
        return model.model_validate(content)
    except ValidationError as error:
        raise YamlFileError(f"{path}: {'; '.join(problems_of(error, model))}") from error


def problems_of(error: ValidationError, model: type[BaseModel], within: Sequence[str] = ()) -> list[str]:
    """What is wrong with values, in plain words: "kinds: should be a list of strings, found 'figure'".

    Args:
        error: of the model's validation.
        model: knows what should be there.
        within: where the values stand, which is named too.
    """
    try:
        schema = model.model_json_schema()
    except PydanticInvalidForJsonSchema:  # it holds something that JSON does not know
        schema = {}
    found = [_told(problem, schema, within) for problem in error.errors(include_url=False)]
    return list(dict.fromkeys(found))


def _told(problem: Mapping[str, Any], schema: Mapping[str, Any], within: Sequence[str]) -> str:
    place, words = problem["loc"], problem["msg"].removeprefix("Value error, ")
    if problem["type"].endswith(("_type", "_parsing")):
        wanted = _schema_at(schema, schema, place)
        words = f"should be {_wanted(wanted, schema)}" if wanted else words
        words += f", found {_short(problem['input'])}"
    words = words.replace("Input should", "should")
    whole = [*within, *map(str, place)]
    return f"{'.'.join(whole)}: {words}" if whole else words


def _schema_at(part: Mapping[str, Any], whole: Mapping[str, Any], place: tuple[int | str, ...]) -> Mapping[str, Any]:
    """The JSON schema of a place in the values; empty where it cannot be followed to."""
    part = _resolved(part, whole)
    for name in place:
        inner = part.get("properties", {}).get(name) or part.get("additionalProperties")
        inner = part.get("items") if isinstance(name, int) else inner
        if not isinstance(inner, Mapping):
            return {}
        part = _resolved(inner, whole)
    return part


def _resolved(part: Mapping[str, Any], whole: Mapping[str, Any]) -> Mapping[str, Any]:
    reference = part.get("$ref", "").rpartition("/")[2]
    return whole["$defs"][reference] if reference else part


def _wanted(part: Mapping[str, Any], whole: Mapping[str, Any]) -> str:
    part = _resolved(part, whole)
    if "anyOf" in part:
        return " or ".join(_wanted(one, whole) for one in part["anyOf"])
    if "enum" in part:
        return f"one of {', '.join(map(str, part['enum']))}"
    if part.get("type") == "array":
        items = _wanted(part["items"], whole) if "items" in part else ""
        return f"a list of {items.removeprefix('a ')}s" if items.startswith("a ") else "a list"
    return _KINDS.get(part.get("type", ""), "something else")


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


class _UniqueKeys(_Loader):
    """Safe YAML in which a key may not be given twice; `<<` may, and is overridden by what is written out."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        seen = []
        for key in (key for key, _ in node.value if key.tag != _MERGE):
            name = self.construct_object(key, deep=True)
            if name in seen:
                raise yaml.constructor.ConstructorError(None, None, f"key {name!r} is given twice", key.start_mark)
            seen.append(name)
        mapping: dict[Hashable, Any] = super().construct_mapping(node, deep=deep)
        return mapping
