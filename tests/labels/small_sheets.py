"""Contact sheets of two clusters, as the annotation pipeline leaves them in the data folder."""

from __future__ import annotations

import io
from pathlib import Path

from PIL import Image

from biomedica_kedro.labels.sheets import SHEETS, SheetOptions, draw_sheet, sheet_file
from biomedica_kedro.records import to_table
from biomedica_kedro.stages import WHOLE, BatchFolder
from biomedica_kedro.stages.run import Work
from biomedica_kedro.stages.stage import Batch, Tables, stage


def write_sheets(data_root: Path) -> BatchFolder:
    """Sheets of cluster 0 (20 images, a0 and a1 shown) and cluster 1 (30 images, b0 and b1 shown)."""
    folder = BatchFolder(data_root / "08_reporting" / "annotation_sheets")
    Work(function=draw_two, outputs={"annotation_sheets": folder}).run()
    return folder


@stage(version=1)
def draw_two(batch: Batch) -> Tables:
    rows = []
    for cluster, (prefix, n_images, color) in enumerate([("a", 20, "teal"), ("b", 30, "maroon")]):
        content = io.BytesIO()
        Image.new("RGB", (120, 80), color).save(content, "JPEG")
        shown = [(content.getvalue(), "representative", f"A caption of 3 µm, α = {i}") for i in range(2)]
        with batch.open_beside("annotation_sheets", sheet_file(cluster)) as file:
            draw_sheet(f"Cluster {cluster}", shown, SheetOptions()).save(file, "JPEG")
        rows += [
            {"cluster_id": cluster, "n_images": n_images, "position": i, "role": "representative",
             "key": f"{prefix}{i}", "caption": "c", "sheet": f"_sheets/{WHOLE}.{cluster:06d}.jpg"}
            for i in range(2)
        ]  # fmt: skip
    return {"annotation_sheets": to_table(rows, SHEETS)}
