from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from threading import Thread
from typing import Any

import orjson
import pytest

from biomedica_corpus.draw_once import draw_once

MARKER = "marker.json"
OLD, NEW = {"seed": 0}, {"seed": 1}
CALLS = ("mkdir", "rename", "rmdir", "unlink")


def draw(folder: Path) -> Mapping[str, object]:
    for name in ("a", "b"):
        (folder / name).mkdir()
        (folder / name / "file").write_text(name)
    return {"files": 2}


def files_in(folder: Path) -> list[str]:
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())


def killed_at_call(number: int, work: Callable[[], object]) -> bool:
    """Fork a child that kills itself at its nth call that changes a folder; whether it came so far."""
    child = os.fork()
    if child == 0:
        left = number

        def counted(call: Callable[..., Any]) -> Callable[..., Any]:
            def wrapped(*args: Any, **keywords: Any) -> Any:
                nonlocal left
                if not left:
                    os.kill(os.getpid(), signal.SIGKILL)
                left -= 1
                return call(*args, **keywords)

            return wrapped

        for name in CALLS:
            setattr(os, name, counted(getattr(os, name)))
        work()
        os._exit(0)
    _, status = os.waitpid(child, 0)
    return os.WIFSIGNALED(status)


def test_killed_at_any_point_the_next_run_ends_with_the_whole_folder_and_nothing_beside_it(tmp_path: Path) -> None:
    for number in range(100):
        folder = tmp_path / str(number) / "corpus"
        draw_once(folder, MARKER, OLD, draw)
        was_killed = killed_at_call(number, lambda folder=folder: draw_once(folder, MARKER, NEW, draw))
        if folder.exists():  # at every moment the whole old folder, the whole new one or, for a moment, none
            assert files_in(folder) == ["a/file", "b/file", MARKER]
        draw_once(folder, MARKER, NEW, draw)
        assert orjson.loads((folder / MARKER).read_bytes()) == {**NEW, "files": 2}
        assert files_in(folder) == ["a/file", "b/file", MARKER]
        assert sorted(path.name for path in folder.parent.iterdir()) == [".corpus.lock", "corpus"]
        if not was_killed:
            break
    assert number > 10
    assert not was_killed


def test_two_that_start_at_once_draw_once(tmp_path: Path) -> None:
    drawn: list[bool] = []

    def slowly(folder: Path) -> Mapping[str, object]:
        time.sleep(0.3)
        return draw(folder)

    threads = [
        Thread(target=lambda: drawn.append(draw_once(tmp_path / "corpus", MARKER, NEW, slowly))) for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(drawn) == [False, False, True]


@pytest.mark.parametrize("marker", [b"", b"{", b"null", b"[]", b"{}"], ids=["empty", "cut", "null", "list", "no keys"])
def test_a_damaged_marker_is_as_good_as_none_but_still_ours(tmp_path: Path, marker: bytes) -> None:
    draw_once(tmp_path / "corpus", MARKER, NEW, draw)
    (tmp_path / "corpus" / MARKER).write_bytes(marker)
    assert draw_once(tmp_path / "corpus", MARKER, NEW, draw)


def test_the_folder_behind_a_link_is_drawn(tmp_path: Path) -> None:
    (tmp_path / "large_disk").mkdir()
    (tmp_path / "corpus").symlink_to(tmp_path / "large_disk")
    draw_once(tmp_path / "corpus", MARKER, NEW, draw)
    assert (tmp_path / "corpus").is_symlink()
    assert files_in(tmp_path / "large_disk") == ["a/file", "b/file", MARKER]


def test_a_folder_of_empty_folders_is_drawn_into_and_one_with_files_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "corpus/a/b").mkdir(parents=True)
    draw_once(tmp_path / "corpus", MARKER, NEW, draw)
    assert files_in(tmp_path / "corpus") == ["a/file", "b/file", MARKER]
    (tmp_path / "other/a").mkdir(parents=True)
    (tmp_path / "other/a/precious").touch()
    with pytest.raises(FileExistsError, match="holds files but no"):
        draw_once(tmp_path / "other", MARKER, NEW, draw)
    assert files_in(tmp_path / "other") == ["a/precious"]


def test_a_file_in_place_of_the_folder_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "corpus").write_text("precious")
    with pytest.raises(FileExistsError, match="is a file"):
        draw_once(tmp_path / "corpus", MARKER, NEW, draw)
    assert (tmp_path / "corpus").read_text() == "precious"
