"""Kedro's project settings; https://docs.kedro.org/en/stable/configure/."""

import os
from pathlib import Path
from typing import Any, cast

from kedro.framework.project import LOGGING
from omegaconf import OmegaConf

from biomedica_kedro.datasets.tracking_store import database_url
from biomedica_kedro.hooks import (
    ArgumentHooks,
    ConsoleHooks,
    InputHooks,
    InterruptionHooks,
    Journal,
    OneRunHooks,
    PlaceHooks,
    TrackingHooks,
)

# Threads that spin while they wait slow training on a busy machine to a tenth; must be set before torch is imported.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")

# A packaged project is run from the folder that holds its conf; a checkout knows its own root.
PROJECT_PATH = Path(os.environ.get("BIOMEDICA_PROJECT_PATH", Path(__file__).resolve().parents[2]))

# Kedro looks for conf/logging.yml from the working directory only.
_LOGGING = PROJECT_PATH / "conf" / "logging.yml"
if Path.cwd() != PROJECT_PATH and "KEDRO_LOGGING_CONFIG" not in os.environ and _LOGGING.is_file():
    LOGGING.configure(cast(dict[str, Any], OmegaConf.to_container(OmegaConf.load(_LOGGING))))

CONFIG_LOADER_ARGS: dict[str, Any] = {
    "base_env": "base",
    "default_run_env": "local",
    "merge_strategy": {"parameters": "soft", "mlflow": "soft"},
    "config_patterns": {"mlflow": ["mlflow*", "mlflow*/**", "**/mlflow*"]},
    # A relative address of a database would depend on the working directory; the project's may hold any character
    "custom_resolvers": {"project_database": lambda name: database_url(PROJECT_PATH / name)},
}

# Its configuration and its commands are used; its hooks stop a run when MLflow does not answer (hooks/tracking.py).
DISABLE_HOOKS_FOR_PLUGINS = ("kedro_mlflow", "kedro-mlflow")  # its name as its metadata spell it, now and in future

JOURNAL, ONE_RUN = Journal(), OneRunHooks()
CONSOLE, TRACKING = ConsoleHooks(JOURNAL), TrackingHooks(JOURNAL, ONE_RUN)
HOOKS = (
    ArgumentHooks(), ONE_RUN, InputHooks(), JOURNAL, PlaceHooks(), CONSOLE, TRACKING,
    InterruptionHooks(CONSOLE, TRACKING),
)  # fmt: skip
