"""JATS of an article: front matter, body with citations of figures in every flavour, references.

Source: JATS Archiving tag library 1.4; what PMC serves today (default namespace) and served before (bare).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from xml.sax.saxutils import escape, quoteattr

import numpy as np

from biomedica_corpus.figure_markup import (
    GROUP_SIZE,
    bilingual_markup,
    figure_markup,
    group_markup,
    inline,
    portuguese_caption,
)
from biomedica_corpus.panel import pick
from biomedica_corpus.plan import ArticlePlan, FigurePlan, Flavor
from biomedica_corpus.prose import Writer

_NAMESPACE = ' xmlns="https://jats.nlm.nih.gov/ns/archiving/1.4/"'
_ROOT = (
    '<article{namespace} xmlns:xlink="http://www.w3.org/1999/xlink" xmlns:mml="http://www.w3.org/1998/Math/MathML" '
    'xmlns:ali="http://www.niso.org/schemas/ali/1.0/" article-type="{kind}" xml:lang="en" dtd-version="{version}">'
)
_LICENSE_URLS = {
    "CC BY": "https://creativecommons.org/licenses/by/4.0/",
    "CC0": "https://creativecommons.org/publicdomain/zero/1.0/",
    "CC BY-SA": "https://creativecommons.org/licenses/by-sa/4.0/",
    "CC BY-ND": "https://creativecommons.org/licenses/by-nd/4.0/",
    "CC BY-NC": "https://creativecommons.org/licenses/by-nc/4.0/",
    "CC BY-NC-SA": "https://creativecommons.org/licenses/by-nc-sa/4.0/",
    "CC BY-NC-ND": "https://creativecommons.org/licenses/by-nc-nd/4.0/",
}
GROUP_ID = "fg1"


def article_title(article: ArticlePlan, rng: np.random.Generator) -> str:
    """Title of the article; the first thing drawn from its prose stream."""
    return Writer(rng, _subjects(article)).title()


def article_markup(article: ArticlePlan, rng: np.random.Generator) -> str:
    """The whole XML document of an article."""
    writer = Writer(rng, _subjects(article))
    title = writer.title()
    namespaced = article.flavor is Flavor.NAMESPACED
    kind = (
        "retraction"
        if article.fault == "retraction_notice"
        else pick(rng, ("research-article",) * 5 + ("case-report",))
    )
    root = _ROOT.format(namespace=_NAMESPACE if namespaced else "", kind=kind, version="1.4" if namespaced else "1.1")
    floats = "".join(_figures(article)) if article.flavor is Flavor.FLOATS else ""
    return (
        f'<?xml version="1.0" encoding="UTF-8"?>\n{_prologue(article)}{root}{_front(article, title, writer)}'
        f"<body>{_body(article, writer, rng)}</body>{_back(writer, rng)}"
        f"{f'<floats-group>{floats}</floats-group>' if floats else ''}{_translation(article)}</article>\n"
    )


def _subjects(article: ArticlePlan) -> tuple[str, ...]:
    return tuple(figure.caption.subject for figure in article.figures)


def _prologue(article: ArticlePlan) -> str:
    if article.flavor is Flavor.IN_PARAGRAPH:
        return "<!-- converted from publisher's files -->\n"
    if article.flavor is Flavor.BARE:
        return (
            '<!DOCTYPE article PUBLIC "-//NLM//DTD JATS (Z39.96) Journal Archiving and Interchange DTD '
            'v1.1 20151215//EN" "JATS-archivearticle1.dtd">\n'
        )
    return ""


def _front(article: ArticlePlan, title: str, writer: Writer) -> str:
    journal = article.journal
    year, month, day = article.publication_date.split("-")
    number = article.pmcid.removeprefix("PMC")
    if article.flavor is Flavor.NAMESPACED:
        pmc_ids = (
            f'<article-id pub-id-type="pmcid">{article.pmcid}</article-id>'
            f'<article-id pub-id-type="pmcid-ver">{article.article_id}</article-id>'
        )
    else:
        pmc_ids = f'<article-id pub-id-type="pmc">{number}</article-id>'
    names = "".join(
        f'<contrib contrib-type="author"><name><surname>{escape(surname)}</surname><given-names>{escape(given)}'
        '</given-names></name><xref ref-type="aff" rid="aff1"/></contrib>'
        for surname, given in writer.authors()
    )
    keywords = "".join(f"<kwd>{inline(subject)}</kwd>" for subject in dict.fromkeys(_subjects(article)))
    mesh = "".join(f"<kwd>{escape(term)}</kwd>" for term in writer.mesh())
    return (
        f'<front><journal-meta><journal-id journal-id-type="nlm-ta">{escape(journal.abbreviation)}</journal-id>'
        f"<journal-title-group><journal-title>{escape(journal.title)}</journal-title></journal-title-group>"
        f'<issn pub-type="epub">{journal.issn}</issn><publisher><publisher-name>{escape(journal.publisher)}'
        f"</publisher-name></publisher></journal-meta><article-meta>{pmc_ids}"
        f'<article-id pub-id-type="pmid">{pmid_of(article)}</article-id>'
        f'<article-id pub-id-type="doi">{doi_of(article)}</article-id><article-categories><subj-group '
        f'subj-group-type="heading"><subject>Research Article</subject></subj-group></article-categories>'
        f"<title-group><article-title>{'RETRACTED: ' if article.is_retracted else ''}{inline(title)}</article-title>"
        f'</title-group><contrib-group>{names}</contrib-group><aff id="aff1">{escape(writer.affiliation())}</aff>'
        f'<pub-date pub-type="epub"><day>{int(day)}</day><month>{int(month)}</month><year>{year}</year></pub-date>'
        f"<volume>{int(year) - 1990}</volume><fpage>{100 + article.number}</fpage>{_license(article, year)}"
        f'{_abstracts(article, writer)}<kwd-group kwd-group-type="author">{keywords}</kwd-group>'
        f'<kwd-group kwd-group-type="MESH">{mesh}</kwd-group></article-meta></front>'
    )


def _license(article: ArticlePlan, year: str) -> str:
    statement = (
        f"<copyright-statement>© {year} The Authors</copyright-statement><copyright-year>{year}</copyright-year>"
    )
    url = _LICENSE_URLS.get(article.license_code or "")
    if url is None:
        return f"<permissions>{statement}</permissions>"
    return (
        f'<permissions>{statement}<license license-type="open-access" xlink:href="{url}"><ali:license_ref>{url}'
        f"</ali:license_ref><license-p>Distributed under the terms of {article.license_code}.</license-p></license>"
        "</permissions>"
    )


def _abstracts(article: ArticlePlan, writer: Writer) -> str:
    text = f"<abstract><p>{inline(writer.opening())} {inline(writer.closing())}</p></abstract>"
    if article.flavor is Flavor.GRAPHICAL_ABSTRACT:
        graphic = f"<graphic xlink:href={quoteattr(graphical_abstract_name(article))}/>"
        if article.number % 2:
            graphic = f'<fig id="ga1" position="anchor">{graphic}</fig>'
        text += f'<abstract abstract-type="graphical"><title>Graphical Abstract</title><p>{graphic}</p></abstract>'
    return text


def graphical_abstract_name(article: ArticlePlan) -> str:
    """File name of the graphical abstract."""
    return f"{article.stem}.ga.jpg"


def _body(article: ArticlePlan, writer: Writer, rng: np.random.Generator) -> str:
    figures = list(_figures(article))
    inside = article.flavor is Flavor.IN_PARAGRAPH
    paragraphs = []
    for number, figure in enumerate(article.figures):
        cited = writer.citing(inline(figure.caption.subject), _cite_one(article, figure, rng))
        shown = figures[number] if inside and number < len(figures) else ""
        paragraphs.append(f"<p>{cited} {inline(writer.filler())}{shown}</p>")
    floating = "" if inside or article.flavor is Flavor.FLOATS else "".join(figures)
    several = _cite_several(article, rng)
    half = len(paragraphs) // 2
    return (
        f'<sec id="s1" sec-type="intro"><title>Introduction</title><p>{inline(writer.opening())} '
        f'<xref ref-type="bibr" rid="b1">[1]</xref></p></sec>'
        f'<sec id="s2" sec-type="methods"><title>Methods</title><p>{inline(writer.methods())}</p></sec>'
        f'<sec id="s3" sec-type="results"><title>Results</title><sec id="s3a"><title>Main findings</title>'
        f'{"".join(paragraphs[:half])}</sec><sec id="s3b"><title>Further observations</title>'
        f"{''.join(paragraphs[half:])}{floating}</sec></sec>"
        f'<sec id="s4" sec-type="discussion"><title>Discussion</title><p>{inline(writer.closing())} {several}</p></sec>'
    )


def _figures(article: ArticlePlan) -> list[str]:
    """Markup of each figure; fewer than figures where some are grouped or nested."""
    figures = article.figures
    if article.flavor is Flavor.GROUPED and len(figures) > 1:
        return [
            group_markup(article, GROUP_ID, figures[:2]),
            *(figure_markup(article, figure) for figure in figures[2:]),
        ]
    if article.flavor is Flavor.CHILD_FIGURES and len(figures) > 1:
        nested = f'<p content-type="supplemental-figure">{_child(article, figures[1])}</p>'
        return [
            figure_markup(article, figures[0], child=nested),
            *(figure_markup(article, figure) for figure in figures[2:]),
        ]
    if article.flavor is Flavor.BILINGUAL:
        return [bilingual_markup(figure, f"g{figure.number}") for figure in figures]
    return [figure_markup(article, figure) for figure in figures]


def _child(article: ArticlePlan, figure: FigurePlan) -> str:
    return figure_markup(article, figure).replace("<fig ", '<fig specific-use="child-fig" ', 1)


def _cite_one(article: ArticlePlan, figure: FigurePlan, rng: np.random.Generator) -> str:
    name = f"Figure {figure.number}" if figure.label.startswith("Figure") else f"Fig. {figure.number}"
    rid = quoteattr(figure.figure_id)
    letter = pick(rng, "ABC"[: len(figure.panels)]) if len(figure.panels) > 1 else ""
    if article.flavor is Flavor.GROUPED and figure.number <= GROUP_SIZE:
        return f'<xref ref-type="fig" rid="{GROUP_ID}">{name}</xref>'
    if article.flavor is Flavor.BOLD_XREFS:
        return f'<bold><xref ref-type="fig" rid={rid}>{name}{letter}</xref></bold>'
    styles: tuple[Callable[[], str], ...] = (
        lambda: f'<xref ref-type="fig" rid={rid}>{name}{letter}</xref>',
        lambda: f'<xref ref-type="fig" rid={rid}>{name}</xref>{letter}',
        lambda: f'<xref ref-type="fig" rid={rid}><bold>{name}</bold>{letter}</xref>',
        lambda: f'<italic><xref ref-type="fig" rid={rid}>{name}{letter}</xref></italic>',
        lambda: f'<xref rid={rid} ref-type="scheme">{name}</xref>',
    )
    if figure.number > 1 and rng.random() < 0.1:
        return f"{name}{letter}"  # in words only
    return pick(rng, styles)()


def _cite_several(article: ArticlePlan, rng: np.random.Generator) -> str:
    ids = [figure.figure_id for figure in article.figures]
    if len(ids) < 2:
        return "The findings need replication."
    if len(ids) > 2 and rng.random() < 0.5:
        return (
            f'All panels are consistent (<xref ref-type="fig" rid={quoteattr(ids[0])}>Figs 1</xref>–'
            f'<xref ref-type="fig" rid={quoteattr(ids[2])}>3</xref>).'
        )
    both = quoteattr(" ".join(ids[:2]))
    return f'The two lines of evidence agree (<xref ref-type="fig" rid={both}>Figs 1 and 2</xref>).'


def _back(writer: Writer, rng: np.random.Generator) -> str:
    references = []
    for number in range(1, int(rng.integers(4, 12))):
        names, title, source = writer.reference()
        year = int(rng.integers(1996, 2025))
        references.append(
            f'<ref id="b{number}"><label>{number}</label><mixed-citation publication-type="journal"><string-name>'
            f"{escape(names)}</string-name>. <article-title>{inline(title)}</article-title>. <source>{escape(source)}"
            f'</source>. <year>{year}</year>;{year - 1990}. <pub-id pub-id-type="doi">10.5555/ref.{rng.integers(10**6)}'
            "</pub-id></mixed-citation></ref>"
        )
    return f"<back><ref-list><title>References</title>{''.join(references)}</ref-list></back>"


def _translation(article: ArticlePlan) -> str:
    """SciELO's way: the same images again with captions in another language."""
    if article.flavor is not Flavor.TRANSLATION:
        return ""
    figures = "".join(
        f"<fig id={quoteattr(figure.figure_id + '-pt')}><label>Figura {figure.number}</label><caption>"
        f"<title>{inline(portuguese_caption(figure))}</title></caption>"
        f"<graphic xlink:href={quoteattr(figure.file_names[0].rpartition('.')[0])}/></fig>"
        for figure in article.figures
    )
    return (
        '<sub-article article-type="translation" id="S01" xml:lang="pt"><front-stub><title-group><article-title>'
        "Tradução do artigo</article-title></title-group></front-stub><body><sec><title>Resultados</title>"
        f"<p>Ver as figuras.</p>{figures}</sec></body></sub-article>"
    )


def pmid_of(article: ArticlePlan) -> int:
    """PMID above every PMID in use."""
    return 80_000_000 + article.number


def doi_of(article: ArticlePlan) -> str:
    """DOI under the prefix that is kept for examples."""
    return f"10.5555/{article.stem}"


def plain_text(article: ArticlePlan, title: str) -> str:
    """The .txt beside the XML: title and captions as plain lines."""
    lines: Sequence[str] = [f"{figure.label} {figure.caption.text}" for figure in article.figures]
    return "\n\n".join(["==== Front", article.journal.title, title, "==== Body", *lines, ""])
