"""How much of the captions a text tower reads: tokens lost beyond its context, and places left empty within it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyarrow as pa

_START_AND_END = 2
TOKENS = pa.schema(
    [
        ("context_length", pa.int64()),
        ("captions", pa.int64()),
        ("mean_tokens", pa.float64()),
        ("cut_captions", pa.float64()),
        ("lost_tokens", pa.float64()),
        ("empty_places", pa.float64()),
    ]
)


def measure_tokens(captions: Sequence[str], context_lengths: Sequence[int]) -> pa.Table:
    """What each context length would keep of the captions, in open_clip's tokens.

    Returns:
        `TOKENS`: shares in [0, 1] of captions that are cut, of tokens that are lost, of places that stay empty.
    """
    from biomedica_kedro.clip.text import count_tokens

    tokens_N = np.array([count_tokens(caption) for caption in captions], dtype=np.int64)
    rows = []
    for length in context_lengths:
        kept_N = np.minimum(tokens_N, length - _START_AND_END)
        rows.append(
            {
                "context_length": length,
                "captions": len(tokens_N),
                "mean_tokens": float(tokens_N.mean()) if len(tokens_N) else 0.0,
                "cut_captions": float((tokens_N > kept_N).mean()) if len(tokens_N) else 0.0,
                "lost_tokens": 1 - float(kept_N.sum()) / max(1, int(tokens_N.sum())),
                "empty_places": 1 - float((kept_N + _START_AND_END).sum()) / max(1, length * len(tokens_N)),
            }
        )
    return pa.Table.from_pylist(rows, schema=TOKENS)
