"""The twenty classes of the corpus, in the order of their label numbers."""

from __future__ import annotations

from biomedica_corpus.abdomen import AbdominalCt
from biomedica_corpus.brain import BrainMri
from biomedica_corpus.cells import Fluorescence, ScanningElectron
from biomedica_corpus.charts import BarPlot, LinePlot, ScatterPlot
from biomedica_corpus.heatmaps import Heatmap
from biomedica_corpus.histology import HematoxylinEosin, Immunohistochemistry
from biomedica_corpus.panel import Panel
from biomedica_corpus.photographs import Dermoscopy, Fundus
from biomedica_corpus.radiographs import ChestRadiograph, Ultrasound
from biomedica_corpus.recordings import Electrocardiogram, WesternBlot
from biomedica_corpus.schematics import ChemicalStructure, Flowchart
from biomedica_corpus.tables_and_maps import RegionMap, TableImage

CLASSES: tuple[type[Panel], ...] = (
    HematoxylinEosin,
    Immunohistochemistry,
    Fluorescence,
    ScanningElectron,
    ChestRadiograph,
    BrainMri,
    AbdominalCt,
    Ultrasound,
    Fundus,
    Dermoscopy,
    Electrocardiogram,
    WesternBlot,
    BarPlot,
    LinePlot,
    ScatterPlot,
    Heatmap,
    Flowchart,
    ChemicalStructure,
    TableImage,
    RegionMap,
)
