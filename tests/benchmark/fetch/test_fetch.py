"""Downloads by the real clients from servers on this machine, with what goes wrong between here and there."""

from __future__ import annotations

import hashlib
import io
import json
import random
import zipfile
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from biomedica_kedro.benchmark.fetch.fetch import Fetcher, is_complete, known_bytes, listing, stated_bytes
from biomedica_kedro.benchmark.fetch.sources import (
    ByHand,
    HubSource,
    SourceError,
    UrlSource,
    find_sources,
    is_open,
    load_sources,
    source_of,
)
from biomedica_kedro.benchmark.fetch.urls import Progress, Resuming
from biomedica_kedro.benchmark.task import Access, load_tasks
from tests.benchmark.fetch.loopback import COMMIT, FileHost, Hub, Server

CONTENT = random.Random(0).randbytes(400_000)
MD5 = f"md5:{hashlib.md5(CONTENT).hexdigest()}"
SOURCES, TASKS = load_sources(), load_tasks()


@pytest.fixture
def host() -> Iterator[Server]:
    with Server(FileHost, {"/x.npz": CONTENT}) as server:
        yield server


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def fetcher(tmp_path: Path, waits: list[float]) -> Fetcher:
    return Fetcher(
        tmp_path, progress=Progress(show=False), downloader=partial(Resuming, attempts=3, sleep=waits.append)
    )


def _source(host: Server, checksum: str = MD5, **file: object) -> UrlSource:
    entry = {"name": "x.npz", "url": f"{host.url}/x.npz", "checksum": checksum, **file}
    return UrlSource(kind="url", files=(entry,), license="CC0")


def test_file_is_downloaded_once_verified_and_listed(host: Server, fetcher: Fetcher) -> None:
    done = fetcher.fetch("x", _source(host))
    assert (done.folder / "x.npz").read_bytes() == CONTENT
    assert done.is_there and is_complete(done.folder)
    assert {path.name for path in done.folder.iterdir()} == {"x.npz", "fetched.json"}
    host.files.requests.clear()
    assert "is there" in fetcher.fetch("x", _source(host)).lines[0]
    assert host.files.requests == [], "nothing is asked of the network"


def test_broken_download_goes_on_where_it_stopped(host: Server, fetcher: Fetcher) -> None:
    host.files.faults.extend([("cut", 250_000), 503])
    fetcher.fetch("x", _source(host))
    spans = host.files.gets()
    assert spans[0] == ""
    assert spans[1] == spans[2]
    assert 100_000 < int(spans[2].removeprefix("bytes=").rstrip("-")) <= 250_000
    assert (fetcher.folder / "x/x.npz").read_bytes() == CONTENT


def test_interrupted_fetch_is_continued_by_the_next(host: Server, fetcher: Fetcher) -> None:
    host.files.faults.extend([("cut", 200_000), 503, 503, 503])
    with pytest.raises(SourceError, match="the next fetch goes on from there"):
        fetcher.fetch("x", _source(host))
    assert not is_complete(fetcher.folder / "x")
    host.files.requests.clear()
    fetcher.fetch("x", _source(host))
    assert host.files.gets()[0].startswith("bytes=1")
    assert (fetcher.folder / "x/x.npz").read_bytes() == CONTENT


def test_bytes_of_another_version_are_not_continued(host: Server, fetcher: Fetcher) -> None:
    host.files.faults.extend([("cut", 200_000), 503, 503, 503])
    with pytest.raises(SourceError):
        fetcher.fetch("x", _source(host))
    host.files.content["/x.npz"] = CONTENT[::-1]
    fetcher.fetch("x", _source(host, f"md5:{hashlib.md5(CONTENT[::-1]).hexdigest()}"))
    assert (fetcher.folder / "x/x.npz").read_bytes() == CONTENT[::-1]


def test_server_without_validators_is_asked_from_the_start(host: Server, fetcher: Fetcher) -> None:
    host.files.has_etags = False
    host.files.faults.append(("cut", 200_000))
    fetcher.fetch("x", _source(host))
    assert host.files.gets() == ["", ""]
    assert (fetcher.folder / "x/x.npz").read_bytes() == CONTENT


def test_wrong_bytes_are_not_kept(host: Server, fetcher: Fetcher) -> None:
    host.files.content["/x.npz"] = b"<html>we are down for maintenance</html>"
    with pytest.raises(SourceError, match=r"x\.npz is not the file that is expected"):
        fetcher.fetch("x", _source(host))
    assert [path.name for path in (fetcher.folder / "x").iterdir()] == []
    host.files.content["/x.npz"] = CONTENT
    fetcher.fetch("x", _source(host))


def test_first_fetch_pins_what_has_no_checksum(host: Server, fetcher: Fetcher) -> None:
    fetcher.fetch("x", _source(host, ""))
    lock = json.loads((fetcher.folder / "fetch.lock.json").read_text())
    assert lock == {
        f"{host.url}/x.npz": {"bytes": len(CONTENT), "checksum": f"sha256:{hashlib.sha256(CONTENT).hexdigest()}"}
    }
    (fetcher.folder / "x/x.npz").unlink()
    host.files.content["/x.npz"] = CONTENT[::-1]
    with pytest.raises(SourceError, match=r"remove its line from fetch\.lock\.json"):
        fetcher.fetch("x", _source(host, ""))


def test_file_that_was_damaged_on_disk_is_fetched_again(host: Server, fetcher: Fetcher) -> None:
    fetcher.fetch("x", _source(host))
    path = fetcher.folder / "x/x.npz"
    path.write_bytes(CONTENT[:1000])
    fetcher.fetch("x", _source(host))
    assert path.read_bytes() == CONTENT


@pytest.mark.parametrize("status", [403, 404])
def test_refusal_is_told_at_once(host: Server, fetcher: Fetcher, waits: list[float], status: int) -> None:
    host.files.faults.append(status)
    if status == 404:
        host.files.content.clear()
    with pytest.raises(SourceError, match=f"the server answers {status}"):
        fetcher.fetch("x", _source(host))
    assert waits == []


def test_server_says_how_long_to_wait(host: Server, fetcher: Fetcher, waits: list[float]) -> None:
    host.files.retry_after = "7"
    host.files.faults.extend([429, 503])
    fetcher.fetch("x", _source(host))
    assert waits == [7.0, 7.0]


def test_space_is_seen_to_before_a_byte_comes(host: Server, fetcher: Fetcher) -> None:
    fetcher.free_bytes = lambda place: 200_000_000 + len(CONTENT) - 1
    with pytest.raises(SourceError, match=r"needs 400\.0 kB and 200\.0 MB to spare"):
        fetcher.fetch("x", _source(host))
    assert host.files.gets() == []


def test_unreachable_host_is_an_error_that_names_it(fetcher: Fetcher) -> None:
    source = UrlSource(kind="url", files=({"name": "x", "url": "http://127.0.0.1:9/x"},), license="")
    with pytest.raises(SourceError, match=r"http://127\.0\.0\.1:9/x cannot be reached"):
        fetcher.fetch("x", source)


def _zip(members: dict[str, bytes]) -> bytes:
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return sink.getvalue()


def test_archive_is_unpacked_beside_itself_unless_it_reaches_out(host: Server, fetcher: Fetcher) -> None:
    host.files.content["/x.npz"] = _zip({"liver/03/image00.png": b"1"})
    fetcher.fetch("x", _source(host, "", unpack=True))
    assert (fetcher.folder / "x/liver/03/image00.png").read_bytes() == b"1"
    host.files.content["/x.npz"] = _zip({"good.png": b"", "../../evil.png": b""})
    (fetcher.folder / "fetch.lock.json").unlink()
    with pytest.raises(SourceError, match=r"evil\.png' points outside"):
        fetcher.fetch("y", _source(host, "", unpack=True))
    assert not list(fetcher.folder.rglob("*evil*")) and not (fetcher.folder / "y/good.png").exists()


ARROW, TABLE = random.Random(1).randbytes(300_000), b"a small file outside large-file storage"


@pytest.fixture
def hub(monkeypatch: pytest.MonkeyPatch) -> Iterator[Server]:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_DISABLE_PROGRESS_BARS", True)
    monkeypatch.setattr("huggingface_hub.constants.DOWNLOAD_CHUNK_SIZE", 1 << 14)
    place = f"/datasets/owner/name/resolve/{COMMIT}"
    content = {f"{place}/perception/0.1.0/test-0.arrow": ARROW, f"{place}/perception/0.1.0/info.parquet": TABLE}
    with Server(Hub, content | {f"{place}/README.md": b"# Card"}) as server:
        yield server


def _hub_source(hub: Server, **changes: object) -> HubSource:
    files = ("perception/0.1.0/*",)
    return HubSource(
        **{"kind": "hub", "repository": "owner/name", "files": files, "endpoint": hub.url, "license": "", **changes}
    )


def test_hub_files_are_those_asked_for_and_held_against_their_hashes(hub: Server, fetcher: Fetcher) -> None:
    done = fetcher.fetch("u", _hub_source(hub))
    assert (done.folder / "perception/0.1.0/test-0.arrow").read_bytes() == ARROW
    assert (done.folder / "perception/0.1.0/info.parquet").read_bytes() == TABLE
    assert not (done.folder / "README.md").exists()
    receipt = json.loads((done.folder / "fetched.json").read_text())
    assert receipt["revision"] == COMMIT
    assert json.loads((fetcher.folder / "fetch.lock.json").read_text()) == {"hub:owner/name": {"revision": COMMIT}}
    hub.files.requests.clear()
    fetcher.fetch("u", _hub_source(hub))
    assert hub.files.requests == []


def test_hub_file_that_broke_off_is_continued(hub: Server, fetcher: Fetcher) -> None:
    hub.files.faults.append(("cut", 100_000))
    fetcher.fetch("u", _hub_source(hub))
    assert (fetcher.folder / "u/perception/0.1.0/test-0.arrow").read_bytes() == ARROW
    assert any(span.startswith("bytes=") for span in hub.files.gets())


def test_hub_file_with_another_hash_is_not_kept(hub: Server, fetcher: Fetcher) -> None:
    name = next(name for name in hub.files.content if name.endswith(".arrow"))
    hub.files.content[name] = b"wrong" + ARROW
    with pytest.raises(SourceError, match="has not the bytes that the hub states"):
        fetcher.fetch("u", _hub_source(hub))
    assert not (fetcher.folder / "u/perception/0.1.0/test-0.arrow").exists()
    assert not is_complete(fetcher.folder / "u")


def test_hub_without_the_revision_or_the_files_says_so(hub: Server, fetcher: Fetcher) -> None:
    with pytest.raises(SourceError, match="has no revision f00"):
        fetcher.fetch("u", _hub_source(hub, revision="f00"))
    with pytest.raises(SourceError, match=r"has no file \*\.tar: it has perception"):
        fetcher.fetch("u", _hub_source(hub, files=("*.tar",)))
    with pytest.raises(SourceError, match="does not exist, or is private"):
        fetcher.fetch("u", _hub_source(hub, repository="owner/other"))
    with pytest.raises(SourceError, match="owner/name on the hub cannot be reached"):
        fetcher.fetch("u", _hub_source(hub, endpoint="http://127.0.0.1:9"))


def test_space_for_hub_files_is_seen_to(hub: Server, fetcher: Fetcher) -> None:
    fetcher.free_bytes = lambda place: 200_000_000
    with pytest.raises(SourceError, match=r"needs 300\.0 kB"):
        fetcher.fetch("u", _hub_source(hub))


def test_what_needs_registration_prints_its_steps_and_the_folder(fetcher: Fetcher) -> None:
    told = fetcher.fetch("chexpert", SOURCES["chexpert"])
    assert not told.is_there
    assert "registration" in told.lines[0]
    assert f"{fetcher.folder / 'chexpert'}/CheXpert-v1.0-small/valid.csv exists" in told.lines[-1]


def test_every_task_with_data_is_part_of_a_source_that_agrees_with_it() -> None:
    for task in TASKS.values():
        if task.loader is None:
            continue
        name = source_of(task.id, SOURCES)
        assert name is not None, task.id
        closed = task.source.access in (Access.REGISTRATION, Access.AGREEMENT, Access.UNRELEASED)
        assert is_open(SOURCES[name]) is not closed, task.id
    assert source_of("ubench_held_2010_mt", SOURCES) == "held_2010_mt"
    assert source_of("ubench_stain", SOURCES) == "ubench"


def test_published_checksums_of_all_medmnist_sets_are_known() -> None:
    sets = [source for name, source in SOURCES.items() if name.endswith("mnist")]
    assert len(sets) == 12
    assert all(file.checksum.startswith("md5:") for source in sets for file in source.files)


def test_names_are_data_sets_or_tasks() -> None:
    assert list(find_sources(["ubench_stain", "pcam", "ubench"], SOURCES, list(TASKS))) == ["ubench", "pcam"]
    with pytest.raises(SourceError, match="did you mean 'pathmnist'"):
        find_sources(["pathmnits"], SOURCES, list(TASKS))
    with pytest.raises(SourceError, match="nothing to fetch is called 'embedded_concept'"):
        find_sources(["embedded_concept"], SOURCES, list(TASKS))


def test_listing_says_what_there_is_and_what_is_here(host: Server, hub: Server, fetcher: Fetcher) -> None:
    fetcher.fetch("x", _source(host))
    own = {"x": _source(host), "hub": _hub_source(hub), "gone": _source(host, url=f"{host.url}/gone")}
    rows = {row[0]: row for row in listing({**own, **SOURCES}, fetcher.folder, known_bytes)}
    assert rows["x"][1] == "there"
    assert rows["ubench"][1:4] == ("not fetched", "perception/0.1.0/*.arrow", "3.6 GB")
    assert rows["chexpert"][1:4] == ("by hand", "-", "-")
    asked = {row[0]: row[3] for row in listing(own, fetcher.folder, stated_bytes)}
    assert asked == {"name": "bytes", "x": "400.0 kB", "hub": "300.0 kB", "gone": "-"}


def test_wrong_list_of_data_sets_names_the_key(tmp_path: Path) -> None:
    (tmp_path / "s.yml").write_text("x: {kind: url, files: [{name: ../x, url: 'ftp://x'}], license: ''}")
    with pytest.raises(SourceError, match=r"files\.0\.name"):
        load_sources(tmp_path / "s.yml")


def test_steps_are_never_downloaded(fetcher: Fetcher) -> None:
    source = ByHand(kind="by_hand", steps=("Put it into {folder}.",), license="")
    (fetcher.folder / "y").mkdir()
    (fetcher.folder / "y/data.csv").write_text("a")
    assert fetcher.fetch("y", source).is_there
