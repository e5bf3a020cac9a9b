"""The command line: index, inspect, lint and convert shards of any origin."""

import gzip
import json

import pyarrow.parquet as pq
import pytest

from biomedica_kedro.shards.__main__ import main
from biomedica_kedro.shards.index import Places
from biomedica_kedro.shards.stream import Stream, stream

from .fault_server import serve
from .test_members import members_of, pack, picture


@pytest.fixture
def folder(tmp_path):
    """Two foreign shards of four samples; one sample has no caption."""
    (tmp_path / "in").mkdir()
    for number in range(2):
        keys = range(number * 4, number * 4 + 4)
        members = [member for n in keys for member in members_of(n, f"batch/7_PMC{n}.1-{n}")]
        pack(tmp_path / "in" / f"x{number}.tar", members)
    pack(tmp_path / "in" / "x2.tar", [("a.jpg", picture(1)), ("a.txt", b"None")])
    return tmp_path / "in"


def numbers(samples):
    return sorted(sample.record["n"] for sample in samples)


def test_index_gives_any_order_and_sql_over_http_too(folder, tmp_path, capsys):
    out = tmp_path / "index"
    assert main(["index", str(folder), "--to", str(out), "--split", "last", "--columns", "n"]) == 0
    assert "indexed 8 samples of 3 shards" in capsys.readouterr().out
    assert "left out: 1 no_caption" not in pq.read_table(out)["key"].to_pylist()
    with serve(folder, every=3) as server:
        chosen = stream(server.url, metadata=out, where="primary_label = 'Microscopy' and n::int >= 3", seed=1)
        assert isinstance(chosen, Stream)
        assert numbers(chosen) == [3, 4, 5, 6, 7]
    assert numbers(stream(folder, metadata=out)) == list(range(8))


def test_index_may_lie_anywhere_and_is_replaced(folder):
    import fsspec

    for shards in (folder, f"{folder}/x0.tar"):
        assert main(["index", str(shards), "--to", "memory://some/index", "--split", "last"]) == 0
    assert len(fsspec.filesystem("memory").glob("/some/index/*.parquet")) == 1
    assert numbers(stream(folder, metadata="memory://some/index")) == list(range(4))


def test_runs_that_lie_together_are_one_request(folder, tmp_path):
    main(["index", str(folder), "--to", str(tmp_path / "index"), "--split", "last"])
    with serve(folder) as server:
        samples = stream(server.url, metadata=tmp_path / "index", shuffle="none", block=4)
        assert isinstance(samples.places, Places)
        assert numbers(samples) == list(range(8))
    assert len([path for path, wanted in server.asked if path.endswith(".tar") and wanted]) == 2


def test_compressed_shards_cannot_be_indexed_but_converted(folder, tmp_path, capsys):
    for path in folder.glob("*.tar"):
        path.write_bytes(gzip.compress(path.read_bytes()))
    assert main(["index", str(folder), "--to", str(tmp_path / "i"), "--split", "last"]) == 2
    assert "is compressed, or its members lie apart: read it sequentially, or repack it" in capsys.readouterr().err
    assert main(["convert", str(folder), "--to", str(tmp_path / "ours"), "--split", "last", "--per-shard", "3"]) == 0
    assert "wrote 8 samples" in capsys.readouterr().out
    ours = list(stream(tmp_path / "ours", where="caption like 'Text%'", shuffle="none"))
    assert numbers(ours) == list(range(8))
    assert [sample.image for sample in ours] == [picture(n) for n in range(8)]
    assert ours[0].record["source_key"] == "batch/7_PMC0.1-0"
    assert len(list((tmp_path / "ours" / "shards").glob("*.tar"))) == 3


def test_inspect_shows_samples_and_draws_them(folder, tmp_path, capsys):
    assert main(["inspect", str(folder), "--split", "last", "--samples", "3", "--sheet", str(tmp_path / "s.png")]) == 0
    shown = capsys.readouterr().out
    assert "3 shards" in shown
    assert "Text 2" in shown.replace("\n", " ")
    assert (tmp_path / "s.png").stat().st_size > 10_000


def test_lint_counts_what_is_wrong(folder, capsys):
    bad = [
        ("k.jpg", picture(1)), ("k.txt", b"c"), ("k.jpg", picture(2)), ("k.txt", b"c"), ("l.jpg", picture(1)[:-400]),
        ("l.txt", b"c"), ("m.jpg", picture(1, "PNG")), ("m.txt", b"c"),
    ]  # fmt: skip
    pack(folder / "x3.tar", bad)
    (folder / "x4.tar").write_bytes((folder / "x0.tar").read_bytes()[:3000])
    assert main(["lint", str(folder), "--split", "last"]) == 1
    shown = " ".join(capsys.readouterr().out.split())
    for finding in (
        "key comes twice", "image: corrupt_image", "extension is of another", "cut short", "no_caption",
        "samples differ in their members",
    ):  # fmt: skip
        assert finding in shown, finding


def test_lint_of_good_shards_is_quiet(folder, capsys):
    (folder / "x2.tar").unlink()
    assert main(["lint", str(folder), "--split", "last"]) == 0
    assert "8 samples" in capsys.readouterr().out


@pytest.mark.parametrize("command", ["inspect", "lint"])
def test_missing_place_is_told_without_a_traceback(tmp_path, command, capsys):
    assert main([command, str(tmp_path / "nowhere")]) == 2
    assert "nowhere holds no *.tar" in " ".join(capsys.readouterr().err.split())


def test_caption_of_the_record_is_indexed(tmp_path):
    record = json.dumps({"text": {"en": "Caption"}}).encode()
    pack(tmp_path / "x.tar", [("a.png", picture(1, "PNG")), ("a.json", record)])
    assert main(["index", str(tmp_path), "--to", str(tmp_path / "i"), "--caption", "json:text.en"]) == 0
    assert pq.read_table(tmp_path / "i")["caption"].to_pylist() == ["Caption"]
