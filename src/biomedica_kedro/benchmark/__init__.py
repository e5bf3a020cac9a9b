"""The benchmark: 40 tasks as data, scores with intervals from cached embeddings, paired comparisons, leaderboards.

A model is an `Encoder`; nothing here knows how it was trained. Tasks are YAML files (`tasks/`), their samples lie in
one interchange form (`samples`), which `loaders` make from the data as distributed.
Source: BIOMEDICA (arXiv 2501.07171) section 5 and appendix tables.
"""
