from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from biomedica_kedro.pmc.fetched_files import FetchedFiles
from biomedica_kedro.pmc.metadata import RemoteFile

CONTENTS = st.lists(st.binary(max_size=300), min_size=1, max_size=6)


def stored(folder, n_files):
    """What a new run finds of so many files."""
    with FetchedFiles(folder) as fetched:
        return [fetched.find("PMC1.1", RemoteFile(f"f{n}.jpg", None)) for n in range(n_files)]


def write(folder, contents):
    with FetchedFiles(folder) as fetched:
        for n, content in enumerate(contents):
            fetched.write("PMC1.1", f"f{n}.jpg", content)
            assert fetched.read("PMC1.1", f"f{n}.jpg") == content
    (part,) = folder.glob("*.part")
    return part


@given(contents=CONTENTS, data=st.data())
def test_part_cut_anywhere_gives_back_only_what_is_whole(contents, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fetched")
    part = write(folder, contents)
    kept = data.draw(st.integers(0, part.stat().st_size), label="bytes kept")
    part.write_bytes(part.read_bytes()[:kept])
    found = stored(folder, len(contents))
    n_whole = sum(content is not None for content in found)
    assert found == [*contents[:n_whole], *[None] * (len(contents) - n_whole)]


@given(contents=CONTENTS, data=st.data())
def test_damaged_byte_never_gives_other_bytes(contents, data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("fetched")
    part = write(folder, contents)
    damaged = bytearray(part.read_bytes())
    damaged[data.draw(st.integers(0, len(damaged) - 1), label="place")] ^= data.draw(st.integers(1, 255), label="bits")
    part.write_bytes(damaged)
    assert all(found in (None, content) for found, content in zip(stored(folder, len(contents)), contents, strict=True))


def test_runs_add_up(tmp_path):
    for n in range(3):
        with FetchedFiles(tmp_path) as fetched:
            fetched.write("PMC1.1", f"f{n}.jpg", bytes([n]))
    assert stored(tmp_path, 4) == [b"\0", b"\1", b"\2", None]


def test_file_that_is_not_what_the_metadata_say_is_not_found(tmp_path):
    with FetchedFiles(tmp_path) as fetched:
        fetched.write("PMC1.1", "f.jpg", b"other")
        assert fetched.find("PMC1.1", RemoteFile("f.jpg", "0" * 32)) is None
        with pytest.raises(KeyError):
            fetched.read("PMC1.1", "g.jpg")
