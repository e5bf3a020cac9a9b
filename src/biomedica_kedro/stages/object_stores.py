"""`s3://`, `gs://` and `az://` as fsspec knows them: obstore's file system, under each of the three protocols.

fsspec imports this module when one of them is first asked for. Endpoint, region and credentials are those of the
environment variables that the providers document (AWS_ENDPOINT_URL, AWS_REGION, GOOGLE_SERVICE_ACCOUNT, ...), in every
process alike: nothing of them is sent to workers or written down.
"""

from __future__ import annotations

from obstore.fsspec import FsspecStore


class S3(FsspecStore):
    """Amazon's S3, and what speaks its language."""

    protocol = "s3"


class GoogleStorage(FsspecStore):
    """Google Cloud Storage."""

    protocol = "gs"


class AzureStorage(FsspecStore):
    """Azure Blob Storage."""

    protocol = "az"
