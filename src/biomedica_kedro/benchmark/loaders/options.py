"""What a task file says about its data as distributed: one model per loader kind, told apart by `kind`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from biomedica_kedro.records import Options

_PADDED = re.compile(r"\{:0(\d+)\}")


class NpzOptions(Options):
    """Arrays in one .npz file (MedMNIST): images N x H x W [x 3], labels N x 1 or N x L."""

    kind: Literal["npz"]
    file: str
    split: str = "test"


class H5Options(Options):
    """Images and labels in two HDF5 files (PatchCamelyon), with an optional CSV of groups."""

    kind: Literal["h5"]
    images: str
    labels: str
    images_key: str = "x"
    labels_key: str = "y"
    groups: str = ""
    group_column: str = ""


class FolderOptions(Options):
    """One folder per class.

    Attributes:
        folders: folder (relative path) -> class name; by default every folder is named as its class.
        files: glob of the images within a class's folder.
        group_pattern: regular expression whose first group names the patient, slide or video in the image's path.
    """

    kind: Literal["folder"]
    folders: Mapping[str, str] = Field(default_factory=dict)
    files: str = "**/*"
    group_pattern: str = ""


class TableOptions(Options):
    """A CSV, TSV, XLSX or JSON Lines table of labels or captions beside the image files.

    Attributes:
        file: the table, relative to the data's folder, or a glob of several, each beside its images.
        image_column: column that holds the file's name, path or number; when empty, the column whose cells all name
            images, or else the images in order of name.
        label_columns: one column with the label, or several: one-hot columns named by the classes.
        caption_column: for retrieval, the column of the caption, instead of labels.
        image_pattern: path of the image with `{}` for the column's value, e.g. "images/{}.jpg"; `{:03}` for numbers
            whose files have leading zeros.
        label_map: value of the label column -> class name.
        group_column: column of the patient, slide or video.
        group_pattern: or a regular expression that finds the group in the image's path.
        where: rows to keep: column -> value.
    """

    kind: Literal["table"]
    file: str
    image_column: str = ""
    label_columns: tuple[str, ...] = ()
    caption_column: str = ""
    image_pattern: str = "{}"
    label_map: Mapping[str, str] = Field(default_factory=dict)
    group_column: str = ""
    group_pattern: str = ""
    where: Mapping[str, str] = Field(default_factory=dict)
    sheet: str = ""

    @model_validator(mode="after")
    def _holds_answers(self) -> Self:
        if bool(self.label_columns) == bool(self.caption_column):
            raise ValueError("a table has label_columns or a caption_column, one of the two")
        return self

    def image_name(self, value: str) -> str:
        """Path of the image a cell names."""
        padded = _PADDED.search(self.image_pattern)
        if padded is None:
            return self.image_pattern.replace("{}", value)
        return self.image_pattern.replace(padded.group(0), value.zfill(int(padded.group(1))))


class DicomOptions(Options):
    """A CSV of labels beside DICOM files; rows of one image are merged, a positive one wins."""

    kind: Literal["dicom"]
    file: str
    image_column: str
    label_column: str
    image_pattern: str = "{}.dcm"
    label_map: Mapping[str, str] = Field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Wording:
    """Where one wording of a row's question lies; dotted names reach into structs.

    Attributes:
        protocol: of asking, see `samples.Question`.
        number: of the wording.
        options: the list of option strings.
        answer: the right option: its text or its position.
        answer_idx: its position where `answer` is the text; both must agree.
    """

    protocol: str
    number: int
    options: str
    answer: str
    answer_idx: str = ""


class ParquetOptions(Options):
    """Parquet or Arrow files with encoded image bytes in a column.

    Attributes:
        files: glob relative to the data's folder; only .parquet and .arrow files are read.
        where: rows to keep: column -> value, or null for rows without one.
        options_column: for closed questions, the list of option strings; then `label_column` is the answer, as text or
            as its position.
        name_column: for closed questions, the label's name, which only probes use.
        id_scope: for ids that are unique only within a part of the files, the columns that may name the part; the first
            that holds a value does.
    """

    kind: Literal["parquet"]
    files: str = "**/*"
    image_column: str = "image"
    label_column: str = "label"
    options_column: str = ""
    name_column: str = ""
    caption_column: str = ""
    id_column: str = ""
    id_scope: tuple[str, ...] = ()
    group_column: str = ""
    license_column: str = ""
    where: Mapping[str, str | None] = Field(default_factory=dict)

    @property
    def class_column(self) -> str:
        """Column of the class that a probe learns beside a closed question; empty when there is none."""
        return self.name_column

    @property
    def grouped_by(self) -> str:
        """Column that tells which rows are not independent of each other; empty when all are."""
        return self.group_column

    def wordings(self) -> tuple[Wording, ...]:
        """Where the questions of a row lie; none for rows that have a label or a caption instead."""
        if not self.options_column:
            return ()
        return (Wording("captions", 0, self.options_column, self.label_column),)


class UBenchOptions(ParquetOptions):
    """One task of u-Bench: a question about some of its rows, in two wordings as captions and once for generation.

    Each entry of the structs `captions` and `questions` holds question, options, answer and answer_idx; one that does
    not apply is null. Source: jnirschl/uBench at revision 3f2c5b59.

    Attributes:
        question: classification, domain, subdomain, modality, submodality or stain.
    """

    kind: Literal["ubench"]  # type: ignore[assignment]
    question: Literal["classification", "domain", "subdomain", "modality", "submodality", "stain"]
    label_column: str = "label_name"
    id_column: str = "image_id"
    id_scope: tuple[str, ...] = ("dataset", "stain")
    license_column: str = "license"

    @property
    def class_column(self) -> str:
        """The label's name; the questions about composition are no classes to learn."""
        return "label_name" if self.question == "classification" else ""

    @property
    def grouped_by(self) -> str:
        """Some images occur in two data sets, and so twice where all of them are asked."""
        return "" if self.question == "classification" else "image_id"

    def wordings(self) -> tuple[Wording, ...]:
        """Both captions, then the question that generative models are asked."""
        places = [("captions", 0, f"captions.{self.question}_0"), ("captions", 1, f"captions.{self.question}_1")]
        places.append(("questions", 0, f"questions.{self.question}"))
        return tuple(
            Wording(protocol, number, f"{place}.options", f"{place}.answer", f"{place}.answer_idx")
            for protocol, number, place in places
        )


class VideoOptions(Options):
    """Videos with one CSV each: a row per frame, a column per class; every `step`-th row is taken."""

    kind: Literal["video"]
    videos: str = "*"
    labels: str = "{}.csv"
    frame_column: str = "Frame"
    label_columns: tuple[str, ...] = ()
    step: int = Field(default=60, ge=1)


LoaderOptions = Annotated[
    NpzOptions
    | H5Options
    | FolderOptions
    | TableOptions
    | DicomOptions
    | ParquetOptions
    | UBenchOptions
    | VideoOptions,
    Field(discriminator="kind"),
]
