"""Continual CLIP pre-training by streaming."""
