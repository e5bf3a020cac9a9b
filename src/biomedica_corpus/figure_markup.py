"""JATS of one figure in the flavours that PMC serves.

Source: JATS Archiving tag library 1.4, elements fig, fig-group, alternatives, permissions. Text is escaped here and
nowhere else; the caption's plain text stays what `Caption.text` says, whatever markup surrounds it.
"""

from __future__ import annotations

import re
from xml.sax.saxutils import escape, quoteattr

from biomedica_corpus.panel import capitalize
from biomedica_corpus.plan import ArticlePlan, FigurePlan, Flavor
from biomedica_corpus.prose import PORTUGUESE

_ITALIC = re.compile(r"\b(in vivo|in vitro|ex vivo|post hoc|de novo|P(?= = ))\b")
_TEX = (
    r"\documentclass[12pt]{minimal} \usepackage{amsmath} \usepackage{wasysym} \setlength{\oddsidemargin}{-69pt} "
    r"\begin{document}$$\alpha =0.05$$\end{document}"
)
_MATH = ("Significance level, ", "α=0.05")
GROUP_SIZE = 2
THUMBNAIL_SUFFIX = ".gif"


def inline(text: str) -> str:
    """Escaped text with the italics that journals set."""
    return _ITALIC.sub(r"<italic>\1</italic>", escape(text))


def figure_markup(article: ArticlePlan, figure: FigurePlan, *, child: str = "") -> str:
    """`<fig>` of a figure.

    Args:
        article: gives the flavour.
        figure: the figure.
        child: markup of a nested figure, if the flavour has one.
    """
    return (
        f'<fig id={quoteattr(figure.figure_id)} position="float"{_language(article)}>'
        f"<label>{escape(figure.label)}</label>{caption_markup(article, figure)}"
        f"{_alt_text(article, figure)}{graphics_markup(article, figure)}{_permissions(figure)}{child}</fig>"
    )


def caption_text(article: ArticlePlan, figure: FigurePlan) -> str:
    """A figure's caption in one line, as an extractor should give it: with its group's, without source data or TeX."""
    text = figure.caption.text
    if article.flavor is Flavor.NAMESPACED:
        return f"{text} {_MATH[0]}{_MATH[1]}."
    if article.flavor is Flavor.GROUPED and figure.number <= GROUP_SIZE and len(article.figures) > 1:
        return f"{_group_title(article.figures[0])} {text}"
    return text


def group_markup(article: ArticlePlan, group_id: str, figures: tuple[FigurePlan, ...]) -> str:
    """`<fig-group>` whose members carry a letter and inherit the group's label; each keeps its own caption."""
    members = "".join(figure_markup(article, figure) for figure in figures)
    return (
        f'<fig-group id={quoteattr(group_id)} position="float">'
        f"<caption><title>{inline(_group_title(figures[0]))}</title></caption>{members}</fig-group>"
    )


def bilingual_markup(figure: FigurePlan, group_id: str) -> str:
    """One image with captions in Portuguese and English: a pair of `<fig>` of which one holds the graphic."""
    number = figure.number
    graphic = f"<graphic xlink:href={quoteattr(_without_extension(figure.file_names[0]))}/>"
    return (
        f'<fig-group id={quoteattr(group_id)}><fig id={quoteattr(figure.figure_id + "-pt")} xml:lang="pt">'
        f"<label>Figura {number}</label><caption><title>"
        f"{inline(portuguese_caption(figure))}</title></caption>"
        f'</fig><fig id={quoteattr(figure.figure_id)} xml:lang="en"><label>{escape(figure.label)}</label>'
        f"{_caption(figure)}{graphic}</fig></fig-group>"
    )


def caption_markup(article: ArticlePlan, figure: FigurePlan) -> str:
    """`<caption>` with what a flavour puts into it: comments, processing instructions, math, source data."""
    extra = ""
    if article.flavor is Flavor.CHILD_FIGURES:
        extra = (
            f"<p><supplementary-material id={quoteattr(figure.figure_id + '-sd1')}>"
            f"<label>{escape(figure.label)}—source data 1.</label>"
            "<caption><title>Numerical values behind the panels.</title></caption>"
            f'<media mimetype="text" mime-subtype="csv" xlink:href="{article.stem}-s001.csv"/>'
            "</supplementary-material></p>"
        )
    if article.flavor is Flavor.NAMESPACED:
        extra = (
            f"<p>{_MATH[0]}<inline-formula><alternatives>"
            f'<tex-math id="M{figure.number}">{escape(_TEX)}</tex-math><mml:math><mml:mi>α</mml:mi><mml:mo>=</mml:mo>'
            "<mml:mn>0.05</mml:mn></mml:math></alternatives></inline-formula>.</p>"
        )
    return _caption(figure, extra=extra, noise=article.flavor is Flavor.IN_PARAGRAPH)


def graphics_markup(article: ArticlePlan, figure: FigurePlan) -> str:
    """The graphic of each part: bare or full file names, alternatives, or the pair of image and thumbnail."""
    if article.flavor is Flavor.IN_PARAGRAPH:
        return "".join(
            f'<alternatives><graphic content-type="image" xlink:href={quoteattr(name)}/>'
            f'<graphic content-type="thumb" xlink:href={quoteattr(thumbnail_of(name))}/></alternatives>'
            for name in figure.file_names
        )
    full = article.flavor in {Flavor.NAMESPACED, Flavor.CHILD_FIGURES}
    return "".join(
        f"<graphic xlink:href={quoteattr(name if full else _without_extension(name))}/>" for name in figure.file_names
    )


def portuguese_caption(figure: FigurePlan) -> str:
    """The figure's kinds of image in Portuguese, as SciELO's journals give captions twice."""
    names = [PORTUGUESE[panel.kind.id] for panel in figure.panels]
    if len(names) == 1:
        return f"{capitalize(names[0])}."
    return " ".join(f"({letter}) {capitalize(name)}." for letter, name in zip("ABCDEFGH", names, strict=False))


def thumbnail_of(file_name: str) -> str:
    """Name of the small gif beside an image."""
    return _without_extension(file_name) + THUMBNAIL_SUFFIX


def _without_extension(file_name: str) -> str:
    return file_name.rpartition(".")[0]


def _caption(figure: FigurePlan, *, extra: str = "", noise: bool = False) -> str:
    title = f"<title>{inline(figure.caption.title)}</title>" if figure.caption.title else ""
    comment = "<!-- proof: checked by author --><?supplied-layout wide?>" if noise else ""
    paragraphs = "".join(f"<p>{comment}{inline(text)}</p>" for text in figure.caption.paragraphs)
    return f"<caption>{title}{paragraphs}{extra}</caption>"


def _group_title(first: FigurePlan) -> str:
    return f"{capitalize(first.caption.subject)}."


def _language(article: ArticlePlan) -> str:
    return ' xml:lang="en"' if article.flavor is Flavor.TRANSLATION else ""


def _alt_text(article: ArticlePlan, figure: FigurePlan) -> str:
    if article.flavor is not Flavor.FLOATS:
        return ""
    return f"<alt-text>Figure showing {escape(figure.caption.subject)}</alt-text>"


def _permissions(figure: FigurePlan) -> str:
    if not figure.third_party:
        return ""
    return (
        "<permissions><copyright-statement>© 1998 Larkfield Press</copyright-statement><copyright-year>1998"
        "</copyright-year><license><license-p>Reprinted with permission; not covered by the license of the article."
        "</license-p></license></permissions>"
    )
