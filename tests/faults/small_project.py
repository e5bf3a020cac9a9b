"""A project of its own with a corpus so small that the whole `kedro run` takes seconds, run in a forked process.

Forking pays the imports once. In the child the project's settings are imported from its own folder, as in any run.
"""

from __future__ import annotations

import atexit
import contextlib
import gc
import importlib
import inspect
import json
import os
import shutil
import signal
import sys
import traceback
from collections.abc import Callable, Mapping
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
HEAVY = (
    "torch", "open_clip", "mlflow", "sklearn.cluster", "sklearn.linear_model", "scipy.stats", "statsmodels.api",
    "duckdb", "pyarrow.parquet", "lxml.etree", "PIL.Image", "plotly.express", "matplotlib.figure", "webdataset",
    "kedro.framework.session", "kedro_mlflow.config.kedro_mlflow_config", "kedro_datasets.pandas", "krippendorff",
    "alembic.command", "mlflow.store.tracking.sqlalchemy_store", "biomedica_kedro.clip.train",
    "biomedica_kedro.datasets.training_log", "biomedica_corpus.write",
)  # fmt: skip
# The project's own settings are each run's; LanceDB starts a thread, and who has threads must not fork
NOT_HERE = ("biomedica_kedro.settings", "biomedica_kedro.pipeline_registry", "lancedb")

CORPUS = {
    "articles": 6, "held_out_articles": 8, "figures_per_article": 1, "held_out_figures": 2, "image_size": 64,
}  # fmt: skip
MODEL = {
    "embed_dim": 16,
    "vision_cfg": {"image_size": 32, "layers": [1, 1, 1, 1], "width": 8},
    "text_cfg": {"context_length": 16, "vocab_size": 49408, "width": 8, "heads": 2, "layers": 1, "mlp_ratio": 2},
}
CATALOG = f"""
article_source:
  type: biomedica_kedro.datasets.sources.EmbeddedCorpusSource
  path: ${{_root}}/01_raw/corpus
  options: {json.dumps(CORPUS)}
base_clip_model:
  type: biomedica_kedro.datasets.base_models.BaseClipModelDataset
  architecture: conf/local/smallest.json
_root: ${{runtime_params:data_root,${{globals:data_root}}}}
"""
PARAMETERS = """
batches: {count: 2}
annotation:
  cluster_images: {clusters: 4}
  draw_annotation_sheets: {representative: 1, random: 1, boundary: 1}
modeling:
  select_training_samples: {context_lengths: [16]}
  train_clip:
    steps: 6
    batch_size: 4
    threads: 1
    optimizer: {warmup_steps: 2}
    checkpoints: {every: 2, keep: 2, validate_every: 3}
  score_in_training: {tasks: [embedded_panel_type], samples: 8}
  find_mismatches: {samples: 16, shown: 1}
serialization:
  assign_shards: {samples_per_shard: 16}
  draw_contact_sheet: {images: 2}
evaluation:
  list_active_tasks: {tasks: [embedded_panel_type, embedded_retrieval]}
  embed_benchmark: {threads: 1}
  score_benchmark:
    zero_shot: {n_resamples: 100, n_resamples_ranked: 50}
    probes: {folds: 2, shots: [1], repeats: 2, n_resamples: 100, n_resamples_ranked: 50}
    retrieval: {n_resamples: 100}
"""


def make_small_project(path: Path) -> Path:
    """A copy of the checkout without data; `conf/local` makes it small."""
    path.mkdir(parents=True)
    for name in ("conf", "src"):
        shutil.copytree(PROJECT / name, path / name, ignore=shutil.ignore_patterns("__pycache__", "local"))
    for name in ("pyproject.toml", "requirements.lock", ".telemetry"):
        shutil.copy(PROJECT / name, path / name)
    (path / "data").mkdir()
    (path / "conf/local").mkdir()
    (path / "conf/local/catalog.yml").write_text(CATALOG, encoding="utf-8")
    (path / "conf/local/smallest.json").write_text(json.dumps(MODEL), encoding="utf-8")
    (path / "conf/local/parameters.yml").write_text(PARAMETERS, encoding="utf-8")
    return path


def draw_corpus(data: Path) -> None:
    """Draw the corpus; a project without one would first draw a whole one for the benchmark, which comes first."""
    from biomedica_corpus.options import CorpusOptions
    from biomedica_corpus.write import write_corpus

    write_corpus(data / "01_raw/corpus", CorpusOptions(**CORPUS))


def import_what_is_slow() -> None:
    """Import in this process what every run needs, before the first fork."""
    os.environ.setdefault("DO_NOT_TRACK", "1")
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    os.environ.setdefault("KEDRO_LOGGING_CONFIG", str(PROJECT / "conf/logging.yml"))
    for name in HEAVY:
        importlib.import_module(name)


def write_what_was_imported(path: Path) -> None:
    """Write at the end of this process which modules it has imported since now."""
    before = set(sys.modules)
    atexit.register(lambda: path.write_text("\n".join(sorted(sys.modules.keys() - before)), encoding="utf-8"))


def import_what_was_imported(path: Path) -> None:
    """Import in this process what a run has imported, so that the next are spared it."""
    for name in path.read_text(encoding="utf-8").splitlines():
        if not name.startswith(NOT_HERE):
            with contextlib.suppress(ImportError):  # names that a package has put among the modules itself
                importlib.import_module(name)
    inspect.stack()  # the settings are found by it; what it reads of each module's file is kept
    gc.collect()
    gc.freeze()


def start_run(
    project: Path, *arguments: str, before: Callable[[], None] | None = None, environment: Mapping[str, str] = {}
) -> int:
    """Fork a process that does `kedro run`; gives its number. What it prints goes to `run.log` beside the project.

    Args:
        project: folder of the project.
        arguments: of the command line, after `kedro run`.
        before: called in the child before the run.
        environment: variables of the child.
    """
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.setsid()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        log = os.open(project.parent / "run.log", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(log, 1)
        os.dup2(log, 2)
        os.chdir(project)
        os.environ.update({"BIOMEDICA_PROJECT_PATH": str(project), **environment})
        sys.argv = ["kedro", "run", *arguments]
        vars(sys.modules["__main__"]).pop("__file__", None)  # which worker processes would import
        if before is not None:
            before()
        status = _run_command()
    except BaseException as error:
        traceback.print_exc()
        status = error.code if isinstance(error, SystemExit) and isinstance(error.code, int) else 1
    finally:
        with contextlib.suppress(BaseException):
            atexit._run_exitfuncs()
            sys.stdout.flush()
            sys.stderr.flush()
        os._exit(status)


def _run_command() -> int:
    from kedro.framework.cli.project import run
    from kedro.framework.startup import bootstrap_project

    bootstrap_project(Path.cwd())
    try:
        run.main(sys.argv[2:], standalone_mode=True, obj=None)
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def wait_for(child: int) -> int:
    """Exit status of a run; of one that was killed, minus the signal's number."""
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)
