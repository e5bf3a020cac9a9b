"""The small corpus for every test of the trainer."""

from tests.clip.small_corpus import small_corpus

__all__ = ["small_corpus"]
