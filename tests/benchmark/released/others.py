"""The data sets other than u-Bench and the paper's own set, a few rows each, as they are downloaded."""

from __future__ import annotations

import csv
import gzip
import io
from pathlib import Path

import imageio.v3 as imageio
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from biomedica_kedro.benchmark.task import Kind, Task
from tests.benchmark.released.pictures import encoded, pixels

PER_CLASS = 2
GRAY = (
    "breastmnist",
    "chestmnist",
    "octmnist",
    "organamnist",
    "organcmnist",
    "organsmnist",
    "pneumoniamnist",
    "tissuemnist",
)


def medmnist(task: Task, folder: Path) -> int:
    """One .npz of six arrays, uint8, 224 pixels, gray sets without a channel; labels N x 1, or N x 14."""
    n_classes = len(task.classes)
    n = PER_CLASS * n_classes
    channels = 1 if task.id in GRAY else 3
    images = np.stack([pixels(at, 224, channels) for at in range(n)])
    labels = (np.arange(n) % n_classes).reshape(-1, 1)
    if task.kind is Kind.MULTILABEL:
        labels = (labels == np.arange(n_classes)).astype(int)
        labels[0] = 0  # most chest x-rays show nothing
        labels[1, :2] = 1
    arrays = {f"{split}_images": images for split in ("train", "val", "test")}
    arrays |= {f"{split}_labels": labels.astype(np.uint8) for split in ("train", "val", "test")}
    np.savez_compressed(folder / f"{task.id}_224.npz", **arrays)
    return n


def pcam(task: Task, folder: Path) -> int:
    """HDF5 in gzip and a CSV that is not; x is N x 96 x 96 x 3, y is N x 1 x 1 x 1."""
    import h5py

    n = 4
    arrays = {
        "x": np.stack([pixels(at, 96) for at in range(n)]),
        "y": (np.arange(n) % 2).astype(np.uint8).reshape(n, 1, 1, 1),
    }
    for key, array in arrays.items():
        plain = io.BytesIO()
        with h5py.File(plain, "w") as file:
            file[key] = array
        (folder / f"camelyonpatch_level_2_split_test_{key}.h5.gz").write_bytes(gzip.compress(plain.getvalue()))
    columns = ("", "coord_y", "coord_x", "tumor_patch", "center_tumor_patch", "wsi")
    rows = [(at, 10, 20, bool(at % 2), bool(at % 2), f"camelyon16_test_{at // 2:03d}") for at in range(n)]
    write_csv(folder / "camelyonpatch_level_2_split_test_meta.csv", columns, rows)
    return n


def lc25000(task: Task, folder: Path) -> int:
    """The archive unpacks into lung_colon_image_set/{lung,colon}_image_sets, a folder a class, 768 pixels."""
    for at, name in enumerate(("lung_n", "lung_aca", "lung_scc", "colon_n", "colon_aca")):
        place = folder / "lung_colon_image_set" / f"{name.partition('_')[0]}_image_sets" / name
        place.mkdir(parents=True)
        for number in range(1, PER_CLASS + 1):
            (place / f"{name.replace('_', '')}{number}.jpeg").write_bytes(encoded(at * 10 + number, "JPEG", 96))
    return PER_CLASS * len(task.classes)


CHEXPERT = (
    "No Finding", "Enlarged Cardiomediastinum", "Cardiomegaly", "Lung Opacity", "Lung Lesion", "Edema", "Consolidation",
    "Pneumonia", "Atelectasis", "Pneumothorax", "Pleural Effusion", "Pleural Other", "Fracture", "Support Devices",
)  # fmt: skip


def chexpert(task: Task, folder: Path) -> int:
    """valid.csv names images from the archive's root, which is the folder itself."""
    rows = []
    for at in range(4):
        path = f"CheXpert-v1.0-small/valid/patient{64541 + at // 2}/study1/view{at % 2 + 1}_frontal.jpg"
        place = folder / path.removeprefix("CheXpert-v1.0-small/")
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(encoded(at, "JPEG"))
        flags = [float((at + finding) % 2) for finding in range(14)]
        rows.append((path, "Male", 73, "Frontal", "AP", *flags))
    write_csv(folder / "valid.csv", ("Path", "Sex", "Age", "Frontal/Lateral", "AP/PA", *CHEXPERT), rows)
    return 4


def rsna(task: Task, folder: Path) -> int:
    """A row a box, so that an image with two boxes has two; DICOM files in a folder of their own."""
    rows = [
        ("a", "", "", "", "", 0),
        ("b", 1.0, 2.0, 30.0, 40.0, 1),
        ("b", 50.0, 2.0, 30.0, 40.0, 1),
        ("c", "", "", "", "", 0),
    ]
    write_csv(folder / "stage_2_train_labels.csv", ("patientId", "x", "y", "width", "height", "Target"), rows)
    (folder / "stage_2_train_images").mkdir()
    for at, name in enumerate("abc"):
        _dicom(folder / "stage_2_train_images" / f"{name}.dcm", pixels(at, 64, 1))
    return 3


def cataracts(task: Task, folder: Path) -> int:
    """A film and a CSV of the same name: a row a frame, a column a tool."""
    frames = np.stack([pixels(at, 64) for at in range(121)])
    imageio.imwrite(folder / "test01.mp4", frames, plugin="pyav", codec="libx264", fps=30)
    rows = [(at, *(int(tool == at // 60) for tool in range(len(task.classes)))) for at in range(121)]
    write_csv(folder / "test01.csv", ("Frame", *(cls.name for cls in task.classes)), rows)
    return 3


ORGANS = (
    "abdominal_wall", "colon", "inferior_mesenteric_artery", "intestinal_veins", "liver", "pancreas", "small_intestine",
    "spleen", "stomach", "ureter", "vesicular_glands",
)  # fmt: skip


def dsad(task: Task, folder: Path) -> int:
    """A folder an organ, in it one a surgery: images, masks, annotators' folders, weak_labels.csv (headings assumed).

    The folder multilabel holds the images of stomach with a mask an organ.
    """
    for at, organ in enumerate((*ORGANS, "multilabel")):
        for surgery in ("03", "21"):
            place = folder / organ / surgery
            (place / "anno_1").mkdir(parents=True)
            seed = (ORGANS.index("stomach") if organ == "multilabel" else at) * 10 + int(surgery)
            for number in range(PER_CLASS):
                (place / f"image{number:02d}.png").write_bytes(encoded(seed * 10 + number))
                mask = f"mask{number:02d}{'_stomach' if organ == 'multilabel' else ''}.png"
                (place / mask).write_bytes(encoded(1))
                (place / "anno_1" / f"mask{number:02d}.png").write_bytes(encoded(1))
            flags = [
                [int(name == organ or (name == "liver" and number)) for name in ORGANS] for number in range(PER_CLASS)
            ]
            write_csv(place / "weak_labels.csv", [name.replace("_", " ").capitalize() for name in ORGANS], flags)
    return 2 * PER_CLASS * len(ORGANS)


def biomedflickr(task: Task, folder: Path) -> int:
    """Parquet with image and caption (names assumed)."""
    rows = [
        {"image": {"bytes": encoded(at, "JPEG"), "path": None}, "caption": f"Photomicrograph {at}."} for at in range(5)
    ]
    (folder / "data").mkdir()
    pq.write_table(pa.Table.from_pylist(rows), folder / "data" / "train-00000-of-00001.parquet")
    return 5


def write_csv(path: Path, columns, rows, separator: str = ",") -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=separator)
        writer.writerow(columns)
        writer.writerows(rows)


def _dicom(path: Path, gray: np.ndarray) -> None:
    from pydicom.dataset import FileDataset, FileMetaDataset
    from pydicom.uid import ExplicitVRLittleEndian, SecondaryCaptureImageStorage, generate_uid

    meta = FileMetaDataset()
    meta.TransferSyntaxUID = ExplicitVRLittleEndian
    meta.MediaStorageSOPClassUID = SecondaryCaptureImageStorage
    meta.MediaStorageSOPInstanceUID = generate_uid()
    file = FileDataset(str(path), {}, file_meta=meta, preamble=b"\0" * 128)
    file.SOPClassUID, file.SOPInstanceUID = meta.MediaStorageSOPClassUID, meta.MediaStorageSOPInstanceUID
    file.Rows, file.Columns = gray.shape
    file.SamplesPerPixel, file.PhotometricInterpretation = 1, "MONOCHROME2"
    file.BitsAllocated = file.BitsStored = 8
    file.HighBit, file.PixelRepresentation = 7, 0
    file.PixelData = gray.tobytes()
    file.save_as(path, enforce_file_format=True)
