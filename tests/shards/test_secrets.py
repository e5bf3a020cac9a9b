"""What opens a place is told nowhere, and reaches every process that reads there."""

import pytest

from biomedica_kedro.shards.secrets import without_secrets
from biomedica_kedro.shards.sources import WITH_SECRETS, Source, StreamOptions

STORAGE = {"endpoint": "http://127.0.0.1:9", "config": {"aws_secret_access_key": "s3cret", "region": "eu"}}


@pytest.mark.parametrize(
    ("url", "told"),
    [
        ("s3://bucket/a.tar", "s3://bucket/a.tar"),
        ("https://me:s3cret@host/a.tar", "https://***@host/a.tar"),
        ("https://host/{0..3}.tar?X-Amz-Signature=s3cret&x=1", "https://host/{0..3}.tar?***"),
        ("folder/what?.tar", "folder/what?.tar"),
    ],
)
def test_url_is_told_without_what_opens_it(url, told):
    assert without_secrets(url) == told


def test_source_tells_its_place_and_only_harmless_settings():
    source = Source(url=["https://host/a.tar?sig=s3cret"], storage=STORAGE)
    told = StreamOptions(sources=[source]).model_dump(mode="json")["sources"][0]
    assert told["storage"] == {
        "endpoint": "http://127.0.0.1:9",
        "config": {"aws_secret_access_key": "***", "region": "eu"},
    }
    assert told["url"] == ["https://host/a.tar?***"]
    assert source.label == "https://host/a.tar?***"


def test_another_process_is_given_all():
    options = StreamOptions(sources=[Source(url="https://host/a.tar?sig=s3cret", storage=STORAGE)])
    assert StreamOptions(**options.model_dump(mode="json", context=WITH_SECRETS)) == options
