"""Continual CLIP pre-training by streaming from tar shards: selection, feed, objective, trainer, checkpoints.

A thin loop of our own over open_clip's models, losses and transforms (docs/how-to/train.md). The modules that
import torch are imported when a training starts, never when the pipelines are listed.
"""
