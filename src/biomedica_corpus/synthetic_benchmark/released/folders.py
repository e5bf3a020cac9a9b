"""Image files beside tables as the archives unpack (LC25000, CheXpert, RSNA, CATARACTS, DSAD), and BioMedFlickr."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from biomedica_corpus.synthetic_benchmark.released.tiles import Pixels, encoded, tile
from biomedica_kedro.benchmark.task import Task

LC25000 = ("lung_n", "lung_aca", "lung_scc", "colon_n", "colon_aca")
CHEXPERT = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation",
    "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip
ORGANS = (
    "abdominal_wall", "colon", "inferior_mesenteric_artery", "intestinal_veins", "liver", "pancreas", "small_intestine",
    "spleen", "stomach", "ureter", "vesicular_glands",
)  # fmt: skip
SURGERIES = ("03", "21")
_FRAMES_A_ROW = 60  # the reader takes one frame in sixty


def write_lc25000(task: Task, folder: Path, per_class: int) -> int:
    """The archive unpacks into lung_colon_image_set/{lung,colon}_image_sets, a folder a class, numbered from 1."""
    for at, name in enumerate(LC25000):
        place = folder / "lung_colon_image_set" / f"{name.partition('_')[0]}_image_sets" / name
        place.mkdir(parents=True, exist_ok=True)
        for number in range(1, per_class + 1):
            picture = tile(at, len(LC25000), number, side=96)
            (place / f"{name.replace('_', '')}{number}.jpeg").write_bytes(encoded(picture, "JPEG"))
    return per_class * len(task.classes)


def write_lc25000_copy(folder: Path, per_class: int) -> None:
    """1aurent/LC25000: organ is 0 for lung and 1 for colon, label 0 benign, 1 adenocarcinoma, 2 squamous carcinoma."""
    rows = [
        {
            "image": {"bytes": encoded(tile(at, len(LC25000), number), "JPEG"), "path": None},
            "organ": int(name.startswith("colon")), "label": ("n", "aca", "scc").index(name.partition("_")[2]),
        }
        for at, name in enumerate(LC25000)
        for number in range(per_class)
    ]  # fmt: skip
    (folder / "data").mkdir(parents=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "data" / "train-00000-of-00004-40f80292828d4b6c.parquet")


def write_chexpert(task: Task, folder: Path, per_class: int) -> int:
    """valid.csv has all 14 observations and names images from the archive's root, which is the folder itself."""
    rows: list[tuple[object, ...]] = []
    n = per_class * len(task.classes)
    for at in range(n):
        path = f"CheXpert-v1.0-small/valid/patient{64541 + at // 2}/study1/view{at % 2 + 1}_frontal.jpg"
        place = folder / path.removeprefix("CheXpert-v1.0-small/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encoded(tile(at % 5, 5, at), "JPEG"))
        flags = [float((at + finding) % 2) for finding in range(len(CHEXPERT))]
        rows.append((path, "Male", 73, "Frontal", "AP", *flags))
    write_csv(folder / "valid.csv", ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT), rows)
    return n


def write_rsna(task: Task, folder: Path, per_class: int) -> int:
    """A row a box, so that an image with two boxes has two rows; DICOM files in a folder of their own."""
    rows: list[tuple[object, ...]] = []
    (folder / "stage_2_train_images").mkdir(exist_ok=True)
    for at in range(2 * per_class):
        name, is_positive = f"patient-{at:04d}", at % 2
        boxes = [(1.0, 2.0, 30.0, 40.0), (50.0, 2.0, 30.0, 40.0)] if is_positive else [("", "", "", "")]
        rows += [(name, *box, is_positive) for box in boxes]
        _write_dicom(folder / "stage_2_train_images" / f"{name}.dcm", tile(is_positive, 2, at)[:, :, 0], name)
    columns = ("patientId", "x", "y", "width", "height", "Target")
    write_csv(folder / "stage_2_train_labels.csv", columns, rows)
    return 2 * per_class


def write_cataracts(task: Task, folder: Path, per_class: int) -> int:
    """A film and a CSV of the same name: a row a frame, a column a tool (headings assumed)."""
    import imageio.v3 as imageio

    n_classes = len(task.classes)
    n_frames = _FRAMES_A_ROW * (per_class * n_classes - 1) + 1
    pictures = [tile(at % n_classes, n_classes, at) for at in range(per_class * n_classes)]
    frames = np.stack([pictures[at // _FRAMES_A_ROW] for at in range(n_frames)])
    imageio.imwrite(folder / "test01.mp4", frames, plugin="pyav", codec="libx264", fps=30)
    rows = [
        (at, *(int(tool == at // _FRAMES_A_ROW % n_classes) for tool in range(n_classes))) for at in range(n_frames)
    ]
    write_csv(folder / "test01.csv", ("Frame", *(cls.name for cls in task.classes)), rows)
    return per_class * n_classes


def write_dsad(task: Task, folder: Path, per_class: int) -> int:
    """A folder an organ, in it one a surgery: images, masks, annotators' folders, weak_labels.csv (headings assumed).

    The folder multilabel holds the images of stomach with a mask an organ (Carstens et al. 2023, usage notes).
    """
    for organ in (*ORGANS, "multilabel"):
        shown = "stomach" if organ == "multilabel" else organ
        for surgery in SURGERIES:
            place = folder / organ / surgery
            (place / "anno_1").mkdir(parents=True, exist_ok=True)
            for number in range(per_class):
                picture = tile(ORGANS.index(shown), len(ORGANS), int(surgery) * 100 + number)
                mask = encoded(np.zeros((4, 4, 3), np.uint8))
                suffix = "_stomach" if organ == "multilabel" else ""
                (place / f"image{number:02d}.png").write_bytes(encoded(picture))
                (place / f"mask{number:02d}{suffix}.png").write_bytes(mask)
                (place / "anno_1" / f"mask{number:02d}.png").write_bytes(mask)
            flags = [
                [int(name == shown or (name == "liver" and number > 0)) for name in ORGANS]
                for number in range(per_class)
            ]
            write_csv(place / "weak_labels.csv", [name.replace("_", " ").capitalize() for name in ORGANS], flags)
    return len(SURGERIES) * per_class * len(ORGANS)


def write_biomedflickr(task: Task, folder: Path, per_class: int) -> int:
    """Parquet with image and caption (names assumed)."""
    n = 4 * per_class
    rows = [
        {"image": {"bytes": encoded(tile(at, n, at), "JPEG"), "path": None}, "caption": f"Photomicrograph {at}."}
        for at in range(n)
    ]
    (folder / "data").mkdir(exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows), folder / "data" / "train-00000-of-00001.parquet")
    return n


def write_csv(path: Path, columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """A table with commas."""
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(columns)
        writer.writerows(rows)


def _write_dicom(path: Path, gray: Pixels, name: str) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid(entropy_srcs=[name])
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.Rows, file.Columns = gray.shape
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = 8
    file.HighBit, file.PixelRepresentation = 7, 0
    file.PixelData = np.ascontiguousarray(gray).tobytes()
    file.save_as(path, enforce_file_format=True)
