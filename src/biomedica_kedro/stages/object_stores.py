"""`s3://`, `gs://` and `az://` as fsspec knows them: obstore's file system, under each of the three protocols.

fsspec imports this module when one of them is first asked for. Endpoint, region and credentials are those of the
environment variables that the providers document (AWS_ENDPOINT_URL, AWS_REGION, GOOGLE_SERVICE_ACCOUNT, ...), in every
process alike: nothing of them is sent to workers or written down.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import obstore
from obstore.fsspec import FsspecStore

if TYPE_CHECKING:
    from obstore.store import ClientConfig


class _Store(FsspecStore):
    """Lists all that lies below a folder in one request a thousand objects; fsspec would ask folder by folder."""

    async def _find(self, path: str, maxdepth: int | None = None, withdirs: bool = False, **kwargs: Any) -> Any:
        if maxdepth is not None or withdirs:
            return await super()._find(path, maxdepth=maxdepth, withdirs=withdirs, **kwargs)
        bucket, prefix = self._split_path(path)
        found = {}
        for one in await obstore.list(self._construct_store(bucket), prefix).collect_async():
            name = f"{bucket}/{one['path']}"
            found[name] = {"name": name, "size": one["size"], "type": "file", "e_tag": one["e_tag"]}
        return found if kwargs.get("detail") else sorted(found)


class S3(_Store):
    """Amazon's S3, and what speaks its language; an endpoint that is named with http:// is asked by http."""

    protocol = "s3"

    def __init__(self, *args: Any, client_options: ClientConfig | None = None, **kwargs: Any) -> None:
        endpoint = os.environ.get("AWS_ENDPOINT_URL", "")
        named: ClientConfig = {"allow_http": True} if endpoint.startswith("http://") else {}
        super().__init__(*args, client_options={**named, **(client_options or {})}, **kwargs)


class GoogleStorage(_Store):
    """Google Cloud Storage."""

    protocol = "gs"


class AzureStorage(_Store):
    """Azure Blob Storage."""

    protocol = "az"
