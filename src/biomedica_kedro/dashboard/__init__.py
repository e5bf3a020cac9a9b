"""MLflow on loopback, opened on the comparison that matters: `python -m biomedica_kedro.dashboard`."""
