"""Shards that rot after their run: read back again at any time, and when that was done last."""

import os
import time
from datetime import UTC, datetime, timedelta

import pytest
from engine import run_node

from biomedica_kedro.shards.__main__ import main
from biomedica_kedro.shards.audit import AuditError
from biomedica_kedro.shards.audited import LastAudit, audited_folders
from biomedica_kedro.shards.layout import ShardOptions
from biomedica_kedro.shards.selection import Profile, SampleOptions
from biomedica_kedro.stages.spread import TaskError

from .conftest import Corpus, figures, serialize_corpus


@pytest.fixture(params=[Profile.FULL, Profile.COMPACT])
def made(request, tmp_path):
    """A data root with four shards, as a run leaves them, and the options that they were made with."""
    options = {"samples": SampleOptions(profile=request.param), "shards": ShardOptions(samples_per_shard=16)}
    found = serialize_corpus(Corpus(figures(range(8))), tmp_path, **options)
    run_node("audit_shards", tmp_path, options={"prepare_samples": options["samples"]}, **found)
    for layer, names in {
        "05_model_input": ("dataset_shards", "shard_index", "shard_contents"),
        "08_reporting": ("shard_audit",),
    }.items():
        (tmp_path / layer).mkdir()
        for name in names:
            (tmp_path / name).rename(tmp_path / layer / name)
    return tmp_path, options["samples"]


@pytest.fixture
def data(made):
    return made[0]


def tell(data, now=None):
    return LastAudit.of(*audited_folders(data)).told(now)


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 0xFF
    path.write_bytes(content)


def commits(data):
    return sorted((data / "08_reporting/shard_audit/_commits").glob("*.json"))


def test_whole_shards_are_found_so_and_keep_the_bytes_of_their_audit(data, capsys):
    before = [path.read_bytes() for path in commits(data)]
    for path in commits(data):
        os.utime(path, (0, 0))
    assert "read back 2" in tell(data)  # some 20,000 days ago
    assert main(["audit", str(data)]) == 0
    assert "nothing is wrong" in capsys.readouterr().out
    assert "read back just now" in tell(data)
    assert [path.read_bytes() for path in commits(data)] == before


def test_age_is_told_without_reading(data, capsys):
    assert main(["audit", str(data), "--age"]) == 0
    told = capsys.readouterr().out
    assert f"4 shards, read back just now ({datetime.now(UTC):%Y-%m-%d}), none changed since" in told
    assert "3 days ago" in tell(data, datetime.now(UTC) + timedelta(days=3, hours=1))
    assert "5 hours ago" in tell(data, datetime.now(UTC) + timedelta(hours=5, minutes=1))


def test_flipped_byte_is_found_named_and_not_forgotten(data, capsys):
    shard = sorted((data / "05_model_input/dataset_shards").glob("*.tar"))[1]
    flip(shard)
    os.utime(shard, (time.time() + 5, time.time() + 5))
    assert f"changed since: {shard.stem}" in tell(data)
    assert main(["audit", str(data), "--age"]) == 1
    assert main(["audit", str(data)]) == 1
    told = capsys.readouterr().out
    assert "the sha256 is not the one in the index" in told
    assert f"rm '{shard}'" in told
    assert "1 shards are damaged" in told
    assert f"never read back: {shard.stem}" in tell(data)
    # The next run stops at it
    shards, audit = audited_folders(data)
    assert not audit.is_complete()
    assert audit.committed() == [name for name in shards.committed() if name != shard.stem]


def test_rot_that_no_audit_has_seen_stops_the_run_only_once_it_was_asked_for(made):
    """A byte flips after the run: the next run trusts its commit records, an audit does not."""
    data, samples = made
    shards, audit = audited_folders(data)
    flip(shards.file(shards.names()[0], ".tar"))
    index, contents = (type(shards)(shards.path.parent / name) for name in ("shard_index", "shard_contents"))
    given = {"dataset_shards": shards, "shard_index": index, "shard_contents": contents}
    given["options"] = {"prepare_samples": samples}
    run_node("audit_shards", audit.path.parent, **given)
    main(["audit", str(data)])
    with pytest.raises((AuditError, TaskError), match="sha256 is not the one"):
        run_node("audit_shards", audit.path.parent, **given)


def test_shard_that_is_gone_is_told(data, capsys):
    shards, _ = audited_folders(data)
    shards.file(shards.names()[0], ".tar").unlink()
    assert main(["audit", str(data)]) == 1
    assert "is not there. Run again" in capsys.readouterr().out


def test_data_root_without_shards_says_what_to_run(tmp_path, capsys):
    assert main(["audit", str(tmp_path)]) == 2
    assert "run the pipeline that makes it first" in capsys.readouterr().err
    assert tell(tmp_path) == "no shards"
