"""biomedica-kedro: from the open biomedical literature to image-caption shards, CLIP models and scores."""

import os

# webdataset reads this at import; without it, it would unpickle members of a shard and open `pipe:` URLs.
os.environ.setdefault("WDS_SECURE", "1")

__version__ = "0.1.0"
