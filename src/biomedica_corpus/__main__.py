"""Write the embedded corpus: `python -m biomedica_corpus FOLDER`."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from biomedica_corpus.options import CorpusOptions
from biomedica_corpus.write import write_corpus


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command."""
    parser = argparse.ArgumentParser(prog="python -m biomedica_corpus", description=__doc__)
    parser.add_argument("folder", type=Path, help="where to write; absent, empty or an earlier corpus")
    parser.add_argument("--contact-sheet", type=Path, metavar="FILE.png", help="also draw examples of every class")
    for name, field in CorpusOptions.model_fields.items():
        if name != "planted_faults":
            number = int if field.annotation is int else float
            parser.add_argument(f"--{name.replace('_', '-')}", type=number, default=field.default)
    chosen = vars(parser.parse_args(arguments))
    logging.basicConfig(format="%(message)s", stream=sys.stderr)
    logging.getLogger("biomedica_corpus").setLevel(logging.INFO)
    folder, sheet = chosen.pop("folder"), chosen.pop("contact_sheet")
    options = CorpusOptions(**chosen)
    write_corpus(folder, options)
    if sheet is not None:
        from biomedica_corpus.contact_sheet import save_contact_sheet

        save_contact_sheet(sheet, options.seed)


if __name__ == "__main__":
    main()
