"""What happens around the pipelines: arguments checked, one line a stage on the console, one record a run in MLflow."""

from biomedica_kedro.hooks.arguments import ArgumentHooks
from biomedica_kedro.hooks.console import ConsoleHooks
from biomedica_kedro.hooks.tracking import TrackingHooks

__all__ = ["ArgumentHooks", "ConsoleHooks", "TrackingHooks"]
