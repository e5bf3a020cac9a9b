"""What stands for a sample's text, and its token ids: open_clip's byte-pair encoding by the `tokenizers` library.

The ids are those of open_clip's own tokenizer to the last one (tests/clip/test_text.py), at a multiple of its speed.
"""

from __future__ import annotations

import gzip
import html
import re
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any

import numpy as np
import torch

from biomedica_kedro.clip.config import TextSource

_END_OF_SENTENCE = re.compile(r"(?<=[.;!?])\s+(?=[A-Z(\[])")
_PANEL_LETTER = re.compile(r"^\W*\(?[A-Ha-h]\)[\s:.,-]*")
_N_MERGES = 49152 - 256 - 2
_FEWEST_WORDS = 3
_SPLIT = r"""(?i)'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"""


class Tokenizer:
    """Callable like open_clip's tokenizers: texts in, int64 (N, context_length) out.

    Args:
        context_length: tokens of a text, start and end included; longer texts are cut, shorter ones filled with 0.
    """

    def __init__(self, context_length: int) -> None:
        self.context_length = context_length

    def __call__(self, texts: str | Sequence[str], context_length: int | None = None) -> torch.Tensor:
        """Token ids of one text or several."""
        texts = [texts] if isinstance(texts, str) else texts
        length = context_length or self.context_length
        encoder, start, end = _encoder()
        ids = torch.zeros((len(texts), length), dtype=torch.long)
        for row, encoding in enumerate(
            encoder.encode_batch_fast([clean(text) for text in texts], add_special_tokens=False)
        ):
            tokens = [start, *encoding.ids[: length - 2], end]
            ids[row, : len(tokens)] = torch.tensor(tokens)
        return ids


def clean(text: str) -> str:
    """open_clip's cleaning: repaired encoding, HTML entities resolved, single spaces, lower case."""
    if not (text.isascii() and text.isprintable() and "&" not in text):
        import ftfy

        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


def count_tokens(text: str) -> int:
    """Tokens of a text, without start and end."""
    return len(_encoder()[0].encode(clean(text), add_special_tokens=False).ids)


def sentences(caption: str) -> list[str]:
    """Sentences and sub-captions of a caption that can stand alone, without their panel letters."""
    parts = (_PANEL_LETTER.sub("", part).strip() for part in _END_OF_SENTENCE.split(caption))
    return [part for part in parts if len(part.split()) >= _FEWEST_WORDS]


def choose_text(
    caption: str, mentions: Sequence[str], sources: Mapping[TextSource, float], random: np.random.Generator
) -> str:
    """What stands for a sample's text this time.

    Args:
        caption: the whole caption.
        mentions: paragraphs of the article that cite the figure.
        sources: weight of each source; a source the sample lacks falls back to its caption.
        random: decides.
    """
    names = sorted(sources)
    weights = np.array([sources[name] for name in names])
    source = names[int(random.choice(len(names), p=weights / weights.sum()))] if len(names) > 1 else names[0]
    if source is TextSource.SENTENCE and (parts := sentences(caption)):
        return parts[int(random.integers(len(parts)))]
    if source is TextSource.CAPTION_AND_MENTION and mentions:
        return f"{caption} {mentions[int(random.integers(len(mentions)))]}"
    return caption


@cache
def _encoder() -> tuple[Any, int, int]:
    from open_clip.tokenizer import bytes_to_unicode, default_bpe
    from tokenizers import Regex, pre_tokenizers
    from tokenizers import Tokenizer as FastTokenizer
    from tokenizers.models import BPE

    with gzip.open(default_bpe(), "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")[1 : _N_MERGES + 1]
    merges = [(first, second) for first, second in map(str.split, lines)]
    characters = list(bytes_to_unicode().values())
    words = [*characters, *(f"{c}</w>" for c in characters), *("".join(merge) for merge in merges)]
    words += ["<start_of_text>", "<end_of_text>"]
    vocabulary = {word: place for place, word in enumerate(words)}
    encoder = FastTokenizer(BPE(vocabulary, merges, end_of_word_suffix="</w>"))
    encoder.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(_SPLIT), behavior="removed", invert=True),
            pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False),
        ]
    )
    return encoder, vocabulary["<start_of_text>"], vocabulary["<end_of_text>"]
