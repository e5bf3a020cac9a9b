"""Words around the figures: invented journals, authors, titles, abstracts and body sentences in the real style."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from biomedica_corpus.panel import capitalize, pick


@dataclass(frozen=True, slots=True)
class Journal:
    """An invented journal."""

    title: str
    abbreviation: str
    publisher: str
    issn: str


JOURNALS = (
    Journal("Annals of Comparative Pathology", "Ann Comp Pathol", "Larkfield Press", "9901-0012"),
    Journal("Open Imaging and Diagnosis", "Open Imaging Diagn", "Larkfield Press", "9901-0139"),
    Journal("Northern Journal of Translational Medicine", "North J Transl Med", "Kelso Academic", "9901-0244"),
    Journal("Cell Form and Function", "Cell Form Funct", "Kelso Academic", "9901-0356"),
    Journal("Molecular Signalling Reports", "Mol Signal Rep", "Aster & Vane", "9901-0461"),
    Journal("Frontline Clinical Case Studies", "Front Clin Case Stud", "Aster & Vane", "9901-0577"),
    Journal("Regional Epidemiology and Health", "Reg Epidemiol Health", "Meridian Open Science", "9901-0682"),
    Journal("Revista Austral de Ciências Biomédicas", "Rev Austral Cienc Biomed", "Editora Maré Alta", "9901-0798"),
    Journal("Medicinal Compounds Letters", "Med Compd Lett", "Meridian Open Science", "9901-0801"),
    Journal("Computational Life Sciences", "Comput Life Sci", "Harrow Lane Publishing", "9901-0917"),
    Journal("Retina and Skin Imaging", "Retina Skin Imaging", "Harrow Lane Publishing", "9901-1023"),
    Journal("Cardiac Electrical Medicine", "Card Electr Med", "Larkfield Press", "9901-1138"),
)

PORTUGUESE = {
    "he": "histologia em hematoxilina e eosina", "ihc": "imuno-histoquímica", "cxr": "radiografia de tórax",
    "fluorescence": "microscopia de fluorescência", "sem": "microscopia eletrônica de varredura",
    "mri": "ressonância magnética do encéfalo",
    "ct": "tomografia computadorizada do abdome", "ultrasound": "ultrassonografia", "fundus": "retinografia",
    "dermoscopy": "dermatoscopia", "ecg": "eletrocardiograma", "blot": "western blot", "bar_plot": "gráfico de barras",
    "line_plot": "gráfico de linhas", "scatter_plot": "gráfico de dispersão", "heatmap": "mapa de calor",
    "flowchart": "fluxograma", "chemical_structure": "estrutura química", "table": "tabela em imagem", "map": "mapa",
}  # fmt: skip
_SURNAMES = (
    "Abara Almqvist Bandele Castellan Dhar Eskola Fontana Grewal Hakimi Ibáñez Jankauskas Kowalczyk Lindqvist Moreau "
    "Nakagawa Okonkwo Petrov Quintero Rasmussen Sørensen Takahara Uribe Varga Wiśniewska Xu Yıldız Zhang Achterberg "
    "Bhattacharya Chukwu D’Angelo Ferreira García-Luna Haddad Kimura Mbeki Nguyễn O’Malley Park Silva"
)
_GIVEN = (
    "Amara Bogdan Chiara Dae-Jung Elif Farid Greta Hiroshi Ines Joana Kwame Leila Marek Nadia Oscar Priya Quentin Rosa "
    "Samir Tomasz Ulrike Vera Wei Ximena Yusuf Zofia"
)
_CITIES = ("Lisbon", "Tampere", "Pune", "Kumasi", "Córdoba", "Gdańsk", "Osaka", "Leeds", "Ankara", "Utrecht", "Busan")
_DEPARTMENTS = ("Pathology", "Radiology", "Molecular Biology", "Internal Medicine", "Public Health", "Pharmacology")
_MESH = (
    "Humans", "Animals", "Mice", "Female", "Male", "Aged", "Adult", "Retrospective Studies", "Biomarkers",
    "Disease Models, Animal", "Prognosis", "Cell Line, Tumor", "Risk Factors", "Treatment Outcome",
)  # fmt: skip
_CITED = (
    "hepatic steatosis", "airway inflammation", "tumor angiogenesis", "renal fibrosis", "myocardial ischemia",
    "gut dysbiosis", "retinal degeneration", "cutaneous wound repair", "axonal injury", "biofilm formation",
    "drug resistance", "insulin resistance", "mitochondrial dysfunction", "bone loss", "vaccine response", "sepsis",
)  # fmt: skip
_TITLES = (
    "{a} and {b}: a multicenter study", "Association of {a} with {b}", "An integrated analysis of {a} and {b}",
    "Imaging and molecular correlates of {a}", "From {a} to {b}: evidence from {n} patients",
    "Early markers of {a}", "{A} in a cohort of {n} participants", "Revisiting {a} with quantitative methods",
    "Characterization of {a} reveals a link to {b}", "A case series of {a}",
)  # fmt: skip
_OPENINGS = (
    "The burden of {a} has grown over the last decade, yet its mechanisms remain incompletely understood.",
    "Despite progress in the care of patients, {a} is still recognized late.",
    "Earlier work linked {a} to {b}, but the evidence rests on small samples.",
    "Little is known about how {a} develops in the first weeks.",
)
_AIMS = (
    "Here we examine {a} with complementary methods.", "We therefore studied {a} in {n} participants.",
    "This article reports our findings on {a} and {b}.", "We asked whether {a} can be measured reproducibly.",
)  # fmt: skip
_METHODS = (
    "Specimens were collected between {y0} and {y1} and coded before reading.",
    "Two readers, who did not know the group, scored all images; disagreements were settled by a third.",
    "Statistical tests were two-sided, with a significance level of 0.05.",
    "All procedures were approved by the local ethics committee, and participants gave written consent.",
    "Exposure, gain and window were held constant within an experiment.",
)
_CITING = (
    "{X} shows {s}.", "As seen in {x}, {s} was a consistent finding.", "We observed {s} ({x}).",
    "The findings on {s} are summarized in {x}.", "Consistent with this, {s} was present in most cases ({x}).",
    "{X} gives a representative example of {s}.", "Readers may compare {s} in {x}.",
    "The change was most evident for {s} (see {x}).",
)  # fmt: skip
_FILLERS = (
    "The effect held after adjustment for age and sex.", "No comparable change was seen in controls.",
    "Agreement between readers was good (κ = 0.8{d}).", "The difference reached significance (P = 0.0{d}).",
    "Results were similar in the replication sample (n = {n}).", "We cannot rule out residual confounding.",
)  # fmt: skip
_CLOSINGS = (
    "Taken together, our data support a role of {a} in this setting.",
    "A limit of this work is its sample size; larger cohorts should test {a} prospectively.",
    "Our observations agree with earlier reports on {b}.",
)


@dataclass(frozen=True, slots=True)
class Writer:
    """Draws sentences about an article's subjects."""

    rng: np.random.Generator
    subjects: tuple[str, ...]

    def title(self) -> str:
        """Title of the article."""
        return capitalize(self._fill(pick(self.rng, _TITLES)))

    def opening(self) -> str:
        """First sentences of abstract and introduction."""
        return f"{self._fill(pick(self.rng, _OPENINGS))} {self._fill(pick(self.rng, _AIMS))}"

    def methods(self) -> str:
        """A methods paragraph."""
        return " ".join(self._fill(text) for text in self.rng.permutation(_METHODS)[:3])

    def filler(self) -> str:
        """A sentence of results that cites nothing."""
        return self._fill(pick(self.rng, _FILLERS))

    def closing(self) -> str:
        """A discussion paragraph."""
        return self._fill(pick(self.rng, _CLOSINGS))

    def citing(self, subject: str, citation: str) -> str:
        """A sentence about `subject` that holds `citation`, which may be markup."""
        text = pick(self.rng, _CITING)
        return capitalize(text.replace("{s}", subject)).replace("{X}", citation).replace("{x}", citation)

    def authors(self) -> list[tuple[str, str]]:
        """Surname and given name of each author."""
        return [
            (pick(self.rng, _SURNAMES.split()), pick(self.rng, _GIVEN.split()))
            for _ in range(int(self.rng.integers(2, 8)))
        ]

    def affiliation(self) -> str:
        """Department and city."""
        return f"Department of {pick(self.rng, _DEPARTMENTS)}, Institute of Health Research, {pick(self.rng, _CITIES)}"

    def mesh(self) -> list[str]:
        """Some headings."""
        return [str(term) for term in self.rng.permutation(_MESH)[: int(self.rng.integers(3, 7))]]

    def reference(self) -> tuple[str, str, str]:
        """Authors, title and source of a cited work."""
        names = ", ".join(f"{pick(self.rng, _SURNAMES.split())} {pick(self.rng, _GIVEN.split())[0]}" for _ in range(3))
        cited = replace(self, subjects=(pick(self.rng, _CITED), pick(self.rng, (*self.subjects, *_CITED))))
        return names, cited.title(), pick(self.rng, JOURNALS).abbreviation

    def _fill(self, text: str) -> str:
        first, second = self.subjects[0], self.subjects[-1]
        year = int(self.rng.integers(2004, 2020))
        values = {
            "{a}": first, "{A}": capitalize(first), "{b}": second, "{n}": str(int(self.rng.integers(12, 940))),
            "{y0}": str(year), "{y1}": str(year + int(self.rng.integers(1, 5))),
            "{d}": str(int(self.rng.integers(1, 5))),
        }  # fmt: skip
        for name, value in values.items():
            text = text.replace(name, value)
        return text
