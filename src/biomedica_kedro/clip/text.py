"""What stands for a sample's text, and its token ids: open_clip's byte-pair encoding, a word at a time.

Words are looked up among those already encoded; a new one goes through the `tokenizers` library. The ids are those of
open_clip's own tokenizer to the last one (tests/clip/test_text.py); benchmarks/training_feed.py measures the feed.
"""

from __future__ import annotations

import gzip
import html
import re
from collections.abc import Mapping, Sequence
from functools import cache, lru_cache
from typing import Any

import numpy as np
import torch

from biomedica_kedro.clip.config import TextSource

_END_OF_SENTENCE = re.compile(r"(?<=[.;!?])\s+(?=[A-Z(\[])")
_PANEL_LETTER = re.compile(r"^\W*\(?[A-Ha-h]\)[\s:.,-]*")
_START, _END = "<start_of_text>", "<end_of_text>"
_N_MERGES = 49152 - 256 - 2
_FEWEST_WORDS = 3
_WORDS_KEPT = 2**17
# Text of these characters alone has nothing for ftfy to repair but the apostrophe: none of its signs of a wrong
# encoding can be made of them (so neither superscripts beside the times sign, nor all Greek capitals).
_PLAIN = re.compile(r"[ -%'-~\t\n–—’′°±×−∼µ≤≥α-ωΔΘΛΠΣΦΨΩ]*")
_PLAIN_WORD = re.compile(r"<start_of_text>|<end_of_text>|'s|'t|'re|'ve|'m|'ll|'d|[a-zµα-ω]+|[0-9]|[^\sa-z0-9µα-ω]+")


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
        start, end = _word_ids(_START)[0], _word_ids(_END)[0]
        ids = np.zeros((len(texts), length), dtype=np.int64)
        for row, text in enumerate(texts):
            tokens = [start, *_token_ids(text, length - 2), end]
            ids[row, : len(tokens)] = tokens
        return torch.from_numpy(ids)


def clean(text: str) -> str:
    """open_clip's cleaning: repaired encoding, HTML entities resolved, single spaces, lower case."""
    if _PLAIN.fullmatch(text):
        text = text.replace("’", "'")
    else:
        import ftfy

        text = html.unescape(html.unescape(ftfy.fix_text(text)))
    return " ".join(text.split()).lower()


def count_tokens(text: str) -> int:
    """Tokens of a text, without start and end."""
    return len(_token_ids(text))


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


def _token_ids(text: str, most: int | None = None) -> list[int]:
    text = clean(text)
    words = _PLAIN_WORD.findall(text) if _PLAIN.fullmatch(text) else _any_word().findall(text)
    ids: list[int] = []
    for word in words:
        ids += _word_ids(word)
        if most is not None and len(ids) >= most:
            return ids[:most]
    return ids


@lru_cache(maxsize=_WORDS_KEPT)
def _word_ids(word: str) -> tuple[int, ...]:
    encoder = _encoder()
    special = encoder.token_to_id(word) if word in (_START, _END) else None
    return tuple(encoder.encode(word).ids) if special is None else (special,)


@cache
def _any_word() -> Any:
    from open_clip.tokenizer import SimpleTokenizer

    return SimpleTokenizer().pat


@cache
def _encoder() -> Any:
    from open_clip.tokenizer import bytes_to_unicode, default_bpe
    from tokenizers import Tokenizer as FastTokenizer
    from tokenizers import pre_tokenizers
    from tokenizers.models import BPE

    with gzip.open(default_bpe(), "rt", encoding="utf-8") as file:
        lines = file.read().split("\n")[1 : _N_MERGES + 1]
    merges = [(first, second) for first, second in map(str.split, lines)]
    characters = list(bytes_to_unicode().values())
    words = [*characters, *(f"{c}</w>" for c in characters), *("".join(merge) for merge in merges)]
    words += [_START, _END]
    vocabulary = {word: place for place, word in enumerate(words)}
    encoder = FastTokenizer(BPE(vocabulary, merges, end_of_word_suffix="</w>"))
    encoder.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)
    return encoder
