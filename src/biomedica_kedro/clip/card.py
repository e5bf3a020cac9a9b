"""The model card of a trained model, from what its JSON file says."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

_CARD = """---
license: apache-2.0
library_name: open_clip
pipeline_tag: zero-shot-image-classification
tags: [clip, biomedical, pubmed-central]
---
# {architecture} trained with biomedica-kedro

Contrastive image-text model trained on figures and captions of PubMed Central's open-access articles.

```python
import open_clip

model, preprocess = open_clip.create_model_from_pretrained("local-dir:path/of/this/folder")
tokenizer = open_clip.get_tokenizer("local-dir:path/of/this/folder")
```

| | |
|---|---|
| started from | {base} |
| training samples | {n_training_samples:,} |
| samples seen | {samples_seen:,} |
| objective | {objective} |
| batch size | {batch_size} |
| peak learning rate | {learning_rate} |
| context length | {context_length} tokens |
| training manifest | `{training_manifest}` |

Validation retrieval, share of pairs found among the first k:

{metrics}

Research use only: not a medical device, not validated for diagnosis. Captions and images carry the licences of their
articles; the selection the model saw is named by the digest above.
"""


def model_card(config: Mapping[str, Any]) -> str:
    """Text of the card.

    Args:
        config: the JSON file beside the weights.
    """
    made = config["provenance"]
    rows = "\n".join(f"| {name} | {value:.3f} |" for name, value in sorted(made["metrics"].items()) if "R_at" in name)
    return _CARD.format(
        architecture=made["architecture"],
        base=made["base_weights"] or "random weights",
        n_training_samples=made["n_training_samples"],
        samples_seen=made["samples_seen"],
        objective=made["options"]["objective"],
        batch_size=made["options"]["batch_size"],
        learning_rate=made["options"]["optimizer"]["learning_rate"],
        context_length=config["model_cfg"]["text_cfg"].get("context_length", 77),
        training_manifest=made["training_manifest"],
        metrics=f"| measure | value |\n|---|---|\n{rows}",
    )
