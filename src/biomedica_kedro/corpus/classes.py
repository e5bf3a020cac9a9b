"""The twenty classes of the corpus, in the order of their label numbers."""

from __future__ import annotations

from biomedica_kedro.corpus.abdomen import AbdominalCt
from biomedica_kedro.corpus.brain import BrainMri
from biomedica_kedro.corpus.cells import Fluorescence, ScanningElectron
from biomedica_kedro.corpus.charts import BarPlot, LinePlot, ScatterPlot
from biomedica_kedro.corpus.documents import RegionMap, TableImage
from biomedica_kedro.corpus.heatmaps import Heatmap
from biomedica_kedro.corpus.histology import HematoxylinEosin, Immunohistochemistry
from biomedica_kedro.corpus.panel import Panel
from biomedica_kedro.corpus.photographs import Dermoscopy, Fundus
from biomedica_kedro.corpus.radiographs import ChestRadiograph, Ultrasound
from biomedica_kedro.corpus.recordings import Electrocardiogram, WesternBlot
from biomedica_kedro.corpus.schematics import ChemicalStructure, Flowchart

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
