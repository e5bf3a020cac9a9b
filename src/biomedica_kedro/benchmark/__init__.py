"""Tasks, scores, intervals and tables for measuring a model."""
