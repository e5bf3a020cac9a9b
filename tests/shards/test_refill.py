"""What licenses keep out of a published folder is filled in from the articles, or it is told why not."""

from dataclasses import asdict

import pyarrow.parquet as pq
import pytest

from biomedica_kedro.images.decode import ANY_SIZE
from biomedica_kedro.images.fingerprints import read_facts
from biomedica_kedro.images.pairs import PairOptions, make_pair
from biomedica_kedro.jats.article import complement, parse_article
from biomedica_kedro.jats.model import article_row, figure_row
from biomedica_kedro.pmc.mirror import MirrorSource
from biomedica_kedro.records import to_table
from biomedica_kedro.shards.__main__ import main
from biomedica_kedro.shards.refill import REFERENCES, reference_row, refill
from biomedica_kedro.shards.selection import SampleOptions
from biomedica_kedro.shards.stream import stream
from tests.pmc.cloud_layout import article_xml, jpeg, write_article

ARTICLES = ("PMC1.1", "PMC2.1", "PMC0333.1")


@pytest.fixture
def mirror(tmp_path):
    """Articles that may be read and not passed on."""
    for n, article_id in enumerate(ARTICLES):
        media = {f"a{part}.jpg": jpeg(40 * n + 20 * part, 48) for part in (1, 2)}
        write_article(tmp_path / "mirror", article_id, media=media, license_code="TDM")
    return tmp_path / "mirror"


@pytest.fixture
def published(mirror, tmp_path):
    """A published folder whose references name the figures of the mirror."""
    rows = [row for article_id in ARTICLES for row in references(mirror / article_id, article_id)]
    (tmp_path / "published" / "references").mkdir(parents=True)
    pq.write_table(to_table(rows, REFERENCES), tmp_path / "published" / "references" / "0000.parquet")
    return tmp_path / "published"


def references(folder, article_id):
    xml, facts = ((folder / f"{article_id}.{suffix}").read_bytes() for suffix in ("xml", "json"))
    parsed = complement(parse_article(xml, article_id=article_id), facts)
    article = article_row(parsed.article)
    for number, figure in enumerate(map(figure_row, parsed.figures), start=1):
        name = f"a{number}.jpg"
        facts = asdict(read_facts((folder / name).read_bytes(), ANY_SIZE))
        image = {"article_id": article_id, "figure_id": figure["figure_id"], "image_id": "i", "part": 0}
        pair = make_pair({**image, "file_name": name, **facts}, figure, article, PairOptions())
        yield reference_row(pair, article, {"primary_labels": ["Microscopy"]}, SampleOptions(), "license_group")


def test_references_hold_no_words_and_no_pixels_of_the_articles(published):
    table = pq.read_table(published / "references" / "0000.parquet")
    assert len(table) == 6
    assert not any("Caption 1" in str(row) for row in table.to_pylist())


def test_filled_in_samples_have_image_caption_and_record(published, mirror, tmp_path):
    done = refill(str(published), str(tmp_path / "mine"), MirrorSource(str(mirror)))
    assert (done.n_samples, dict(done.missing)) == (6, {})
    samples = {sample.key: sample for sample in stream(tmp_path / "mine", where="license_code = 'TDM'")}
    sample = samples["PMC2_1-F2-0"]
    assert sample.image == (mirror / "PMC2.1" / "a2.jpg").read_bytes()
    assert sample.caption == "Caption 2."
    assert sample.record["image_primary_label"] == ["Microscopy"]
    assert sample.record["article_title"] == "Title of PMC2.1"
    assert samples.keys() == {f"{a.replace('.', '_')}-F{n}-0" for a in ARTICLES for n in (1, 2)}


def test_what_changed_or_is_gone_is_counted_by_reason(published, mirror, tmp_path):
    (mirror / "PMC1.1" / "a1.jpg").write_bytes(jpeg(250, 48))
    (mirror / "PMC1.1" / "a2.jpg").unlink()
    text = article_xml("a1.jpg").replace(b"Caption 1.", b"Another caption.")
    (mirror / "PMC2.1" / "PMC2.1.xml").write_bytes(text)
    (mirror / "PMC0333.1" / "PMC0333.1.json").unlink()
    done = refill(str(published), str(tmp_path / "mine"), MirrorSource(str(mirror)))
    assert done.n_samples == 0 and not (tmp_path / "mine").exists()
    assert dict(done.missing) == {"checksum_mismatch": 2, "not_found": 4}
    told = " ".join(done.examples)
    assert "PMC1_1-F1-0: the image a1.jpg has changed" in told
    assert "PMC2_1-F1-0: the caption has changed" in told
    assert "PMC2_1-F2-0: the article has no figure F2 any more" in told


def test_command_says_what_was_filled_in(published, mirror, tmp_path, capsys):
    (mirror / "PMC1.1" / "a1.jpg").write_bytes(jpeg(250, 48))
    status = main(["refill", str(published), "--to", str(tmp_path / "mine"), "--mirror", str(mirror)])
    said = " ".join(capsys.readouterr().out.split())
    assert status == 1
    assert "filled in 5 of 6 references" in said and "1 checksum_mismatch" in said and "PMC1_1-F1-0" in said


def test_folder_without_references_is_told(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"holds no references/\*.parquet"):
        refill(str(tmp_path), str(tmp_path / "mine"), MirrorSource(str(tmp_path)))
