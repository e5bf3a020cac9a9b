"""Claim: panels of real figures, looked at by eye: how many are right, split too much, or too little.

    python benchmarks/real_panels.py --packages FOLDER --sheets FOLDER    draw the boxes, and a list to fill in
    python benchmarks/real_panels.py --verdicts FILE                      count what was filled in

FOLDER holds a folder an article, with its JATS XML and its images; neither they nor the list are part of this project:
only the counts are. Images are read as `detect_panels` does, with the caption of the figure whose only image they are.
In the list a person fills in `kind` ("formulas", "tables", "other single panels", "compound"), `panels`, the true
number, and `boxes_right`, "yes" where each of as many boxes holds one panel.
"""

from __future__ import annotations

import argparse
import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from PIL import Image, ImageDraw
from reliability import REAL, draw_scores, reliability
from report import machine, write_result

from biomedica_kedro.images.boxes import Box
from biomedica_kedro.images.decode import as_rgb
from biomedica_kedro.images.panels import PanelOptions, read_panels
from biomedica_kedro.jats import parse_article

KINDS = ("formulas", "tables", "other single panels", "compound")
FILLED = ("kind", "panels", "boxes_right")
_IMAGES, _XML = (".jpg", ".gif", ".png", ".tif", ".tiff"), (".xml", ".nxml", ".jats")
_COLORS = ("red", "blue", "green", "magenta")
_COLUMNS, _ROWS, _WIDTH, _HEIGHT = 4, 3, 470, 400  # of a sheet, and pixels of a place on it


def images(packages: Path) -> Iterator[tuple[Image.Image, str]]:
    """Every image of every article, and its figure's caption; an empty one where the figure has other images too."""
    for folder in sorted(path for path in packages.iterdir() if path.is_dir()):
        files = sorted(path for path in folder.rglob("*") if path.is_file())
        captions: dict[str, str] = {}
        for file in (path for path in files if path.suffix in _XML and path.name != "manifest.xml"):
            for figure in parse_article(file.read_bytes(), article_id=folder.name).figures:
                stems = {Path(graphic.href).stem for graphic in figure.graphics}
                captions |= dict.fromkeys(stems, figure.caption if len(stems) == 1 else "")
        for file in (path for path in files if path.suffix.lower() in _IMAGES):
            stem = next((name for name in captions if name and (name in file.stem or file.stem in name)), "")
            yield as_rgb(Image.open(file)), captions.get(file.stem, captions.get(stem, ""))


def draw(packages: Path, sheets: Path) -> None:
    """Sheets of images with their boxes, and the list to fill in: `verdicts.csv`."""
    sheets.mkdir(parents=True, exist_ok=True)
    rows, drawn = [], []
    for number, (image, caption) in enumerate(images(packages)):
        read, bare = (read_panels(image, words, PanelOptions()) for words in (caption, ""))
        told = f"{read.score if read.is_multiple else 1 - read.score:.3f}"
        found = {"found": len(read.boxes), "probability": told, "found_without_caption": len(bare.boxes)}
        rows.append({"image": number, **found})
        drawn.append(with_boxes(image, read.boxes))
    with (sheets / "verdicts.csv").open("w", newline="") as file:
        writer = csv.DictWriter(file, [*rows[0], *FILLED])
        writer.writeheader()
        writer.writerows(rows)
    places = _COLUMNS * _ROWS
    for start in range(0, len(drawn), places):
        sheet = Image.new("RGB", (_COLUMNS * _WIDTH, _ROWS * _HEIGHT), "slategray")
        for place, image in enumerate(drawn[start : start + places]):
            left, top = place % _COLUMNS * _WIDTH, place // _COLUMNS * _HEIGHT
            sheet.paste(image, (left, top + 14))
            ImageDraw.Draw(sheet).text((left + 2, top), str(start + place))
        sheet.save(sheets / f"sheet_{start // places}.png")


def with_boxes(image: Image.Image, boxes: Sequence[Box]) -> Image.Image:
    """A small copy of an image with its boxes drawn."""
    copy = image.copy()
    pen, width = ImageDraw.Draw(copy), max(2, max(image.size) // 160)
    for number, box in enumerate(boxes):
        edges = (box.left, box.top, box.right - 1, box.bottom - 1)
        pen.rectangle(edges, outline=_COLORS[number % len(_COLORS)], width=width)
    copy.thumbnail((_WIDTH - 6, _HEIGHT - 20))
    return copy


def count(kind: str, rows: Sequence[Mapping[str, str]]) -> dict[str, object]:
    """What became of the images of a kind."""
    return {
        "": kind,
        "images": len(rows),
        "right": sum(_more(row, "found") == 0 and row["boxes_right"] == "yes" for row in rows),
        "right number, a box wrong": sum(_more(row, "found") == 0 and row["boxes_right"] != "yes" for row in rows),
        "split too much": sum(_more(row, "found") > 0 for row in rows),
        "too little": sum(_more(row, "found") < 0 for row in rows),
        "without caption: right number": sum(_more(row, "found_without_caption") == 0 for row in rows),
        "too much": sum(_more(row, "found_without_caption") > 0 for row in rows),
        "too little ": sum(_more(row, "found_without_caption") < 0 for row in rows),
    }


def _more(row: Mapping[str, str], found: str) -> int:
    return int(row[found]) - int(row["panels"])


def read_verdicts(file: Iterable[str]) -> list[dict[str, str]]:
    """Rows of a list that is filled in.

    Raises:
        ValueError: names the row that is not.
    """
    rows = list(csv.DictReader(file))
    for row in rows:
        if row["kind"] not in KINDS or not row["panels"].isdecimal():
            raise ValueError(f"image {row['image']}: kind {row['kind']!r}, panels {row['panels']!r}; fill in one of "
                             f"{', '.join(KINDS)} and a number")  # fmt: skip
    return rows


def main() -> None:
    """Draw, or count."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--packages", type=Path)
    parser.add_argument("--sheets", type=Path)
    parser.add_argument("--verdicts", type=Path)
    given = parser.parse_args()
    if given.verdicts is None:
        if given.packages is None or given.sheets is None:
            parser.error("name --packages and --sheets to draw, or --verdicts to count")
        draw(given.packages, given.sheets)
        return
    rows = read_verdicts(given.verdicts.read_text().splitlines())
    table = [(kind, [row for row in rows if row["kind"] == kind]) for kind in KINDS]
    described = f"`python benchmarks/real_panels.py`; {machine()}. {len(rows)} images"
    write_result(
        "real_panels",
        "Panels of real figures, looked at by eye",
        f"{described}, read with their captions, and without.",
        [count(kind, chosen) for kind, chosen in [*((k, c) for k, c in table if c), ("all", rows)]],
    )
    scores = reliability([float(row["probability"]) for row in rows], [int(row["panels"]) > 1 for row in rows])
    title = "How far the score of several panels can be trusted on real figures"
    write_result(REAL, title, f"{described}, with captions.", scores)
    draw_scores()


if __name__ == "__main__":
    main()
