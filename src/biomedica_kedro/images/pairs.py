"""Image-caption pairs: which images of which figures make one, and under which key and caption."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from pydantic import Field

from biomedica_kedro.pmc.identifiers import pair_key
from biomedica_kedro.pmc.licenses import license_group, narrower, read_license
from biomedica_kedro.records import DataError, Options, RejectReason

Row = Mapping[str, Any]


class PairOptions(Options):
    """What makes a pair.

    Attributes:
        kinds: kinds of figures taken; tables, equations and chemical structures given as images are not by default.
        language: captions in this language are preferred where a figure has several; else the figure's own is taken.
        min_caption_characters: shorter captions are none.
        require_redistributable: leave out what may not, or may not surely, be passed on; else such pairs are flagged.
        keep_retracted: take figures of retracted articles too.
    """

    kinds: tuple[str, ...] = ("figure", "scheme", "chart", "plate", "graphical_abstract")
    language: str = "en"
    min_caption_characters: int = Field(default=1, ge=0)
    require_redistributable: bool = False
    keep_retracted: bool = False


def make_pair(image: Row, figure: Row, article: Row, options: PairOptions) -> dict[str, Any]:
    """Pair one image with its figure's caption.

    Args:
        image: a row of `figure_images`.
        figure: the row of `figures` it belongs to.
        article: license and state of the article: `license_code`, `license_group`, `is_retracted`.
        options: what is taken.
    Returns:
        A row of `image_caption_pairs`.
    Raises:
        DataError: RETRACTED, EXCLUDED_KIND, TRANSLATION, NO_CAPTION or NOT_REDISTRIBUTABLE.
    """
    caption = caption_for(figure, options.language)
    _check(figure, article, caption, options)
    return {
        "key": pair_key(image["article_id"], image["figure_id"], image["part"]),
        "caption": caption,
        "mentions": mention_texts(figure["mentions"]),
        **{name: figure[name] for name in ("article_id", "figure_id", "position", "kind", "label", "redistributable")},
        **_license(figure, article),
        **{name: image[name] for name in _FROM_IMAGE},
    }


def caption_for(figure: Row, language: str) -> str:
    """Caption of a figure in the wanted language where it has one: the group's, its own, and the notes beside it."""
    own = dict(figure["captions_by_language"] or ()).get(language) or figure["caption"]
    return " ".join(text for text in (figure["group_caption"], own, figure["note"]) if text)


def mention_texts(mentions: Sequence[Row] | None) -> list[str]:
    """The paragraphs that mention a figure, each once, in their order."""
    return list(dict.fromkeys(mention["text"] for mention in mentions or ()))


def _license(figure: Row, article: Row) -> dict[str, str | None]:
    """The article's license, narrowed where the figure has an open one of its own that asks for more."""
    own = narrower(article["license_code"], read_license(figure["license_override"] or "").code)
    if own is None:
        return {"license_code": article["license_code"], "license_group": article["license_group"]}
    return {"license_code": own, "license_group": license_group(own).value}


_FROM_IMAGE = ("image_id", "file_name", "format", "width", "height", "mode", "n_bytes", "sha256", "phash")


def _check(figure: Row, article: Row, caption: str, options: PairOptions) -> None:
    if article["is_retracted"] and not options.keep_retracted:
        raise DataError(RejectReason.RETRACTED, "the article is retracted")
    if figure["kind"] not in options.kinds:
        raise DataError(RejectReason.EXCLUDED_KIND, f"kind {figure['kind']!r}")
    if figure["translation_of"] is not None:
        raise DataError(RejectReason.TRANSLATION, f"the image of {figure['translation_of']!r} in another language")
    if len(caption) < max(1, options.min_caption_characters):
        raise DataError(RejectReason.NO_CAPTION, f"caption {caption!r}")
    if options.require_redistributable and not figure["redistributable"]:
        raise DataError(RejectReason.NOT_REDISTRIBUTABLE, figure["license_override"] or "license unknown")
