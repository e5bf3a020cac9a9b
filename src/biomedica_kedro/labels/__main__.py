"""Label image clusters: `python -m biomedica_kedro.labels` in a browser, or with `--ballot` in a spreadsheet."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from biomedica_kedro.labels.page import HOST, PageError, serve_page
from biomedica_kedro.labels.session import LabelingSession
from biomedica_kedro.stages import BatchFolder, IncompleteError
from biomedica_kedro.stages.place import NotLocalError, local, place
from biomedica_kedro.taxonomy import BIOMEDICA, load_taxonomy


def main(arguments: Sequence[str] | None = None) -> None:
    """Command line of the labeling page."""
    options = _parser().parse_args(arguments)
    try:
        root = local(options.data_root, "the labeling page")
        sheets = BatchFolder(root / "08_reporting" / "annotation_sheets")
        votes = root / "01_raw" / "expert_votes"
        session = LabelingSession.open(sheets, votes, load_taxonomy(options.taxonomy))
        if options.ballot is not None:
            options.ballot.write_text(session.ballot(options.expert), encoding="utf-8-sig", newline="")
            sys.stderr.write(f"Fill in the column answers of {options.ballot} and save it into {votes} as CSV.\n")
            return
        sys.stderr.write(
            f"{len(session.sheets)} clusters at http://{HOST}:{options.port}; votes go to {votes}. "
            "Afterwards: kedro run\n"
        )
        serve_page(session, options.port)
    except IncompleteError as error:
        raise SystemExit(
            f"There are no contact sheets yet, run `kedro run --pipeline=annotation` first: {error}"
        ) from error
    except (PageError, NotLocalError) as error:
        raise SystemExit(str(error)) from error


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m biomedica_kedro.labels", description=__doc__)
    parser.add_argument("--data-root", type=place, default=Path("data"), help="the project's data folder")
    parser.add_argument("--taxonomy", type=Path, default=BIOMEDICA, help="a taxonomy file of one's own")
    parser.add_argument("--port", type=int, default=7860, help="port on 127.0.0.1")
    parser.add_argument("--ballot", type=Path, metavar="FILE.csv", help="write an empty ballot for a spreadsheet")
    parser.add_argument("--expert", default="", help="name on the ballot")
    return parser


if __name__ == "__main__":
    main()
