"""What happens around the pipelines: arguments checked, one line a stage on the console, one record a run in MLflow."""

from biomedica_kedro.hooks.arguments import ArgumentHooks
from biomedica_kedro.hooks.console import ConsoleHooks
from biomedica_kedro.hooks.inputs import InputHooks
from biomedica_kedro.hooks.interruption import InterruptionHooks
from biomedica_kedro.hooks.journal import Journal
from biomedica_kedro.hooks.one_run import OneRunHooks
from biomedica_kedro.hooks.places import PlaceHooks
from biomedica_kedro.hooks.tracking import TrackingHooks

__all__ = [
    "ArgumentHooks",
    "ConsoleHooks",
    "InputHooks",
    "InterruptionHooks",
    "Journal",
    "OneRunHooks",
    "PlaceHooks",
    "TrackingHooks",
]
