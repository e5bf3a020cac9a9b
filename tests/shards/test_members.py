"""Shards as the world writes them: webdataset now and then, img2dataset, GNU tar, bsdtar."""

import gzip
import io
import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections import Counter

import pyarrow as pa
import pytest
from PIL import Image

from biomedica_kedro.records import Reject, RejectReason
from biomedica_kedro.shards.members import KeySplit, ShardError, ShardFormat, split_name
from biomedica_kedro.shards.reader import Reading, parse_sample, read_entries
from biomedica_kedro.shards.samples import Sample

from .peers import overlay, peer

LONG = "deep/" * 30 + "name_" + "é" * 90


def picture(n, kind="JPEG"):
    file = io.BytesIO()
    Image.new("RGB", (40 + n, 33), (60 * n % 256, 0, 0)).save(file, kind)
    return file.getvalue()


def record(n):
    return {"image_primary_label": ["Microscopy"], "n": n, "text": "é" * n}


def pack(path, members, form=tarfile.PAX_FORMAT):
    with tarfile.open(path, "w", format=form) as tar:
        for name, content in members:
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return path


def members_of(n, key=None):
    key = key or f"k{n}"
    return [(f"{key}.jpg", picture(n)), (f"{key}.json", json.dumps(record(n)).encode()), (f"{key}.txt", b"Text %d" % n)]


def wanted(n, key=None):
    return Sample(key or f"k{n}", picture(n), "jpg", f"Text {n}", record(n))


def read(path, **options):
    found = [entry.value for entry in read_entries(path, Reading(**options))]
    return [v for v in found if isinstance(v, Sample)], [v for v in found if isinstance(v, Reject)]


def samples(path, **options):
    good, bad = read(path, **options)
    assert bad == []
    return good


WEBDATASET = """
import sys, json, webdataset
from pathlib import Path
folder, n = Path(sys.argv[1]), int(sys.argv[2])
with webdataset.ShardWriter(str(folder / "x-%06d.tar"), maxcount=3, verbose=0) as sink:
    for i in range(n):
        sink.write({"__key__": f"batch/12_PMC{i}-{i}", "jpg": (folder / f"{i}.jpg").read_bytes(), "txt": f"Text {i}",
                    "json": json.loads((folder / f"{i}.json").read_text())})
"""
IMG2DATASET = """
import sys, json, pyarrow as pa
from pathlib import Path
from img2dataset.writer import WebDatasetSampleWriter
folder, n = Path(sys.argv[1]), int(sys.argv[2])
schema = pa.schema([("key", pa.string()), ("caption", pa.string()), ("n", pa.int64()), ("status", pa.string())])
writer = WebDatasetSampleWriter(0, str(folder), True, 5, schema, "jpg")
for i in range(n):
    image = (folder / f"{i}.jpg").read_bytes() if i else None
    status = "success" if i else "failed_to_download"
    meta = {"key": f"{i:09d}", "caption": f"Text {i}", "n": i, "status": status}
    writer.write(image, f"{i:09d}", f"Text {i}", meta)
writer.close()
"""


def written_by(python, script, folder, n, **environment):
    for i in range(n):
        (folder / f"{i}.jpg").write_bytes(picture(i))
        (folder / f"{i}.json").write_text(json.dumps(record(i)))
    # webdataset 1.0 opens no local file in the secure mode
    env = {**os.environ, "WDS_SECURE": "0", **environment}
    done = subprocess.run([python, "-c", script, folder, str(n)], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return sorted(folder.glob("*.tar"))


@pytest.mark.parametrize("version", ["1.0", "0.2"])
def test_shards_that_webdataset_wrote_are_read(tmp_path, version):
    environment = {} if version == "1.0" else {"PYTHONPATH": str(overlay("webdataset_before"))}
    shards = written_by(sys.executable, WEBDATASET, tmp_path, 5, **environment)
    found = [sample for shard in shards for sample in samples(shard)]
    assert len(shards) == 2
    assert found == [wanted(n, f"batch/12_PMC{n}-{n}") for n in range(5)]


def test_shards_that_img2dataset_wrote_are_read(tmp_path):
    (shard,) = written_by(peer("img2dataset"), IMG2DATASET, tmp_path, 4)
    found = samples(shard)
    assert [(s.key, s.caption, s.image, s.record["n"]) for s in found] == [
        (f"{n:09d}", f"Text {n}", picture(n), n) for n in range(1, 4)
    ]


@pytest.mark.parametrize("program", ["tar", "bsdtar"])
@pytest.mark.parametrize("form", ["gnu", "pax", "ustar"])
def test_folders_that_tar_packed_are_read(tmp_path, program, form):
    if shutil.which(program) is None:
        pytest.skip(f"needs {program}")
    (tmp_path / "in" / "folder").mkdir(parents=True)
    for n in range(30):
        for name, content in members_of(n, f"folder/k{n}"):
            (tmp_path / "in" / name).write_bytes(content)
    format_option = f"--format={form + 'tar' if program == 'bsdtar' and form == 'gnu' else form}"
    subprocess.run([program, format_option, "-cf", tmp_path / "x.tar", "-C", tmp_path / "in", "."], check=True)
    found = samples(tmp_path / "x.tar", has_records=True)
    assert sorted(found, key=lambda s: int(s.key[8:])) == [wanted(n, f"folder/k{n}") for n in range(30)]


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT], ids=["pax", "gnu"])
def test_long_names_are_read_in_order_and_by_place(tmp_path, form):
    path = pack(tmp_path / "x.tar", members_of(1, LONG) + members_of(2), form)
    assert samples(path) == [wanted(1, LONG), wanted(2)]
    first, second = read_entries(path)
    content = path.read_bytes()
    for entry in (first, second):
        run = content[entry.place.offset : entry.place.offset + entry.place.n_bytes]
        assert parse_sample(run) == entry.value
    assert [entry.value for entry in read_entries(path, start=second.place.offset)] == [wanted(2)]


@pytest.mark.parametrize("suffix", [".tar.gz", ".tar.zst", ".tar"])
def test_compressed_shards_are_known_by_their_content(tmp_path, suffix):
    plain = pack(tmp_path / "x", members_of(1) + members_of(2)).read_bytes()
    packed = {".tar.gz": gzip.compress(plain), ".tar.zst": pa.Codec("zstd").compress(plain, asbytes=True)}
    path = tmp_path / f"y{suffix}"
    path.write_bytes(packed.get(suffix, packed[".tar.gz"]))
    assert samples(path) == [wanted(1), wanted(2)]
    assert not any(entry.is_place for entry in read_entries(path))
    path.write_bytes(path.read_bytes()[:-20])
    with pytest.raises(ShardError, match=f"y{suffix}: "):
        read(path)


def test_members_far_apart_wait_for_each_other_and_give_no_place_to_begin(tmp_path):
    scattered = [members_of(n)[part] for part in (2, 0, 1) for n in range(5)]
    path = pack(tmp_path / "x.tar", scattered)
    assert Counter(s.key for s in samples(path, has_records=True)) == Counter(f"k{n}" for n in range(5))
    assert samples(path, has_records=True)[0] in [wanted(n) for n in range(5)]
    assert not any(entry.is_place for entry in list(read_entries(path, Reading(has_records=True)))[1:])


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "WEBP", "GIF", "TIFF", "BMP", "JPEG2000"])
def test_image_is_found_under_any_extension_by_its_content(tmp_path, kind):
    path = pack(tmp_path / "x.tar", [("a.photo", picture(1, kind)), ("a.cls", b"3"), ("a.txt", b"A caption")])
    (sample,) = samples(path)
    assert (sample.image, sample.extension, sample.caption) == (picture(1, kind), "photo", "A caption")


def test_plain_extension_goes_before_others_of_a_sample(tmp_path):
    path = pack(tmp_path / "x.tar", [("a.mask.png", b"m"), ("a.JPG", picture(1)), ("a.seg.png", b"s"), ("a.txt", b"c")])
    assert samples(path)[0].image == picture(1)


def test_what_is_no_sample_is_passed_over(tmp_path):
    extra = [("README", b"read me"), (".DS_Store", b"x"), ("._k1.jpg", b"x"), ("stats.json.d/", b"")]
    path = pack(tmp_path / "x.tar", [*extra, *members_of(1)])
    assert samples(path) == [wanted(1)]


@pytest.mark.parametrize(
    ("name", "split", "pair"),
    [
        ("a.b.jpg", KeySplit.FIRST, ("a", "b.jpg")),
        ("a.b.jpg", KeySplit.LAST, ("a.b", "jpg")),
        ("./f.x/a.b.jpg", KeySplit.FIRST, ("f.x/a", "b.jpg")),
        ("f/a", KeySplit.FIRST, ("", "")),
        ("f/.a", KeySplit.LAST, ("", "")),
    ],
)
def test_names_are_split_as_asked(name, split, pair):
    assert split_name(name, split) == pair


def test_keys_with_dots_are_kept_apart_with_the_last_dot(tmp_path):
    path = pack(tmp_path / "x.tar", members_of(1, "PMC1.1-F1") + members_of(2, "PMC1.2-F1"))
    assert samples(path, form=ShardFormat(split="last")) == [wanted(1, "PMC1.1-F1"), wanted(2, "PMC1.2-F1")]


@pytest.mark.parametrize(
    ("value", "caption"),
    [({"caption": "C"}, "C"), ({"a": {"b": ["C", "D"]}}, "C"), ({"a.b": "C"}, "C")],
    ids=["field", "nested", "dotted name"],
)
def test_caption_comes_from_a_field_of_the_record(tmp_path, value, caption):
    path = pack(tmp_path / "x.tar", [("k.jpg", picture(1)), ("k.json", json.dumps(value).encode())])
    field = "caption" if "caption" in value else "a.b"
    (sample,) = samples(path, form=ShardFormat(caption=f"json:{field}"), columns=())
    assert (sample.caption, sample.record) == (caption, {})


def test_what_cannot_be_used_is_a_reject_with_its_reason(tmp_path):
    bad = [
        ("a.txt", b"no image"), ("b.jpg", picture(1)), ("c.jpg", picture(1)), ("c.txt", b"None"), ("d.jpg", picture(1)),
        ("d.txt", b"\xff\xfe"), ("e.jpg", picture(1)), ("e.txt", b"fine"), ("e.json", b"{not json"),
    ]  # fmt: skip
    good, rejects = read(pack(tmp_path / "x.tar", bad + members_of(1)))
    assert good == [wanted(1)]
    assert {reject.source: reject.reason for reject in rejects} == {
        "x.tar:a": RejectReason.MISSING_FILE, "x.tar:b": RejectReason.NO_CAPTION, "x.tar:c": RejectReason.NO_CAPTION,
        "x.tar:d": RejectReason.INVALID_METADATA, "x.tar:e": RejectReason.INVALID_METADATA,
    }  # fmt: skip


def test_key_that_comes_twice_gives_two_samples(tmp_path):
    assert len(samples(pack(tmp_path / "x.tar", members_of(1) + members_of(1)))) == 2


@pytest.mark.parametrize("damage", [b"\xff" * 512, b"12 path"], ids=["header", "PAX record"])
def test_damage_within_a_shard_is_an_error_never_its_end(tmp_path, damage):
    path = pack(tmp_path / "x.tar", members_of(1) + members_of(2, LONG))
    content = bytearray(path.read_bytes())
    place = [entry.place.offset for entry in read_entries(path)][1] + (512 if b"path" in damage else 0)
    content[place : place + len(damage)] = damage
    path.write_bytes(content)
    with pytest.raises(ShardError, match=r"x\.tar: "):
        read(path)
