"""What is known of shards and samples without opening a shard, and choosing samples by a condition on it."""

from __future__ import annotations

import pyarrow as pa

from biomedica_kedro.records import DATASET_METADATA

# What a shard holds, withdrawn samples included, with the digest of each sample's content.
SHARD_CONTENTS = DATASET_METADATA.append(pa.field("content", pa.string()))
