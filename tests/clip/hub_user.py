"""What a user does with a model of the hub; started by `test_hub` with the hub's address in the environment."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import orjson

from biomedica_kedro.clip.checkpoints import BaseModel, load_base
from biomedica_kedro.clip.sources import ModelError
from biomedica_kedro.encoders import OpenClipEncoder


def main(folder: Path) -> None:
    """Encode with a small model of BiomedCLIP's shape, by its name on the hub and from a folder; tell what came."""
    found: dict[str, object] = {}
    pixels = np.random.default_rng(0).integers(0, 255, (40, 50, 3)).astype(np.uint8)
    for architecture in ("hf-hub:them/biomed", f"local-dir:{folder / 'them' / 'biomed'}"):
        encoder = OpenClipEncoder(*load_base(BaseModel(architecture)))
        images = encoder.encode_images([encoder.prepare(pixels)])
        found[architecture.partition(":")[0]] = [encoder.encode_texts(["a red field"]).tolist(), images.tolist()]
    for name in ("them/nothing", "them/unweighted"):
        try:
            load_base(BaseModel(f"hf-hub:{name}"))
        except ModelError as error:
            found[name] = str(error)
    (folder / "found.json").write_bytes(orjson.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
