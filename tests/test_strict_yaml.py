from __future__ import annotations

import re
from pathlib import Path

import pytest
from pydantic import Field

from biomedica_kedro.records import Options
from biomedica_kedro.strict_yaml import YamlFileError, read_yaml


class Part(Options):
    size: int = 1


class Whole(Options):
    name: str
    parts: dict[str, Part] = Field(default_factory=dict)


def write(folder: Path, content: bytes) -> Path:
    path = folder / "whole.yml"
    path.write_bytes(content)
    return path


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: a\nname: b\n", r"key 'name' is given twice(.|\n)*line 2"),
        (b"name: a\nparts:\n  one: {size: 1, size: 2}\n", "key 'size' is given twice"),
        (b"name: a\nparts: {one: {}, one: {}}\n", "key 'one' is given twice"),
        (b"name: a\nparts:\n  one: {sizes: 1}\n", r"parts\.one: unknown parameter 'sizes': did you mean 'size'\?"),
        (b"name: a\nparts:\n  one: {size: big}\n", r"parts\.one\.size: .*integer"),
        (b"parts: {}\n", "name: Field required"),
        (b"- name\n", "expected keys and values, found a list"),
        (b"", "found an empty file"),
        (b"name: [\n", "not valid YAML"),
        (b"name: \xff\xfe\xfd\n", "not valid YAML"),
        (b"name: !!python/object/apply:os.getcwd []\n", "not valid YAML"),
        (b"? [a, b]\n: c\n", "not valid YAML"),
    ],
    ids=[
        "key twice", "key twice below", "entry twice", "unknown key", "wrong type", "missing key", "list", "empty",
        "unfinished", "not UTF-8", "Python object", "key that is a list",
    ],
)  # fmt: skip
def test_broken_file_is_an_error_that_names_file_and_key(tmp_path: Path, content: bytes, message: str) -> None:
    path = write(tmp_path, content)
    with pytest.raises(YamlFileError, match=message) as caught:
        read_yaml(path, Whole)
    assert str(path) in str(caught.value)
    assert "pydantic" not in str(caught.value)


def test_merged_keys_give_way_to_those_written_out(tmp_path: Path) -> None:
    path = write(tmp_path, b"name: a\nparts:\n  one: &one {size: 3}\n  two: {<<: *one, size: 4}\n  three: {<<: *one}\n")
    assert {name: part.size for name, part in read_yaml(path, Whole).parts.items()} == {"one": 3, "two": 4, "three": 3}


def test_only_one_place_reads_yaml() -> None:
    sources = (Path(__file__).parents[1] / "src").rglob("*.py")
    assert [path.name for path in sources if re.search(r"yaml\.\w*load", path.read_text())] == ["strict_yaml.py"]
