"""YAML files of the package and of users: safe, strict, and checked against a model.

Plain YAML lets the second of two equal keys win without a word, and a misspelt key vanish. Here both are errors that
name the file, the key and the close match.
"""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any, TypeVar

import yaml
from pydantic import BaseModel, ValidationError

_MERGE = "tag:yaml.org,2002:merge"

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
        problems = (_told(problem["loc"], problem["msg"]) for problem in error.errors(include_url=False))
        raise YamlFileError(f"{path}: {'; '.join(problems)}") from error


def _told(place: tuple[int | str, ...], message: str) -> str:
    words = message.removeprefix("Value error, ")
    return f"{'.'.join(map(str, place))}: {words}" if place else words


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
