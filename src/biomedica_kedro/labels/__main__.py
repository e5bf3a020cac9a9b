"""Label image clusters: `python -m biomedica_kedro.labels` in a browser, or with `--ballot` in a spreadsheet."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from enum import StrEnum
from pathlib import Path

from biomedica_kedro.labels.page import KEYS, PageError, build_page, serve_page
from biomedica_kedro.labels.pictures import SheetPictures, ambiguity_of
from biomedica_kedro.labels.session import LabelingSession
from biomedica_kedro.stages import BatchFolder, IncompleteError
from biomedica_kedro.stages.place import NotLocalError, local, place
from biomedica_kedro.taxonomy import BIOMEDICA, load_taxonomy


class Order(StrEnum):
    """Which cluster comes next: the largest, or the largest times most undecided between it and another one."""

    LARGEST = "largest"
    UNDECIDED = "undecided"


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line of the labeling page."""
    options = _parser().parse_args(arguments)
    try:
        root = local(options.data_root, "the labeling page")
        sheets = BatchFolder(root / "08_reporting" / "annotation_sheets")
        votes = root / "01_raw" / "expert_votes"
        simulated = root / "01_raw" / "corpus" / "annotations" / "expert_votes.csv"
        assignments = BatchFolder(root / "04_feature" / "cluster_assignments")
        ambiguity = ambiguity_of(assignments) if options.order is Order.UNDECIDED else {}
        taxonomy = load_taxonomy(options.taxonomy)
        session = LabelingSession.open(sheets, votes, taxonomy, simulated=simulated, ambiguity=ambiguity)
        if options.ballot is not None:
            options.ballot.write_text(session.ballot(options.expert), encoding="utf-8-sig", newline="")
            _told(f"Fill in the column answers of {options.ballot} and save it into {votes} as CSV.")
            return
        told = f"{len(session.sheets)} clusters at {{}}; votes go to {votes}. Afterwards: kedro run"
        serve_page(
            build_page(session, SheetPictures(root), adjudicates=options.adjudicate),
            options.port,
            sorted({str(sheet.path.parent.resolve()) for sheet in session.sheets.values()}),
            lambda address: _told(told.format(address)),
            head=KEYS.read_text(),
        )
    except IncompleteError as error:
        raise SystemExit(
            f"There are no contact sheets yet, run `kedro run --pipeline=annotation` first: {error}"
        ) from error
    except (PageError, NotLocalError) as error:
        raise SystemExit(str(error)) from error


def _told(text: str) -> None:
    """Tell the user at once, also where the output is no terminal."""
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m biomedica_kedro.labels", description=__doc__)
    parser.add_argument("--data-root", type=place, default=Path("data"), help="the project's data folder")
    parser.add_argument("--taxonomy", type=Path, default=BIOMEDICA, help="a taxonomy file of one's own")
    parser.add_argument("--port", type=int, default=7860, help="port on 127.0.0.1")
    parser.add_argument("--order", type=Order, choices=list(Order), default=Order.LARGEST, help="which cluster is next")
    parser.add_argument("--adjudicate", action="store_true", help="show what others said, disputed clusters first")
    parser.add_argument("--ballot", type=Path, metavar="FILE.csv", help="write an empty ballot for a spreadsheet")
    parser.add_argument("--expert", default="", help="name on the ballot")
    return parser


if __name__ == "__main__":
    main()
