# Every target only calls tools; nothing is hidden here. Without make: pip install -e ".[dev]", then kedro run.
VENV ?= .venv
PYTHON ?= $(firstword $(shell command -v python3.11 python3.12 python3.13 python3.14 python3))
BIN := $(VENV)/bin
export DO_NOT_TRACK := 1
export MLFLOW_DISABLE_TELEMETRY := true
export OMP_WAIT_POLICY := PASSIVE
export PATH := $(abspath $(BIN)):$(PATH)
unexport PYTHONDONTWRITEBYTECODE  # else every start compiles some 2,400 modules again

.DEFAULT_GOAL := help
.PHONY: help install run test lint viz mlflow browse label bench docs lock clean

help:  ## list the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

$(BIN)/uv:
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check uv

$(VENV)/.stamp: requirements.lock pyproject.toml setup.py $(wildcard src/biomedica_kedro/jats/*.pyx) | $(BIN)/uv
	$(BIN)/uv pip sync --quiet --python $(BIN)/python --require-hashes requirements.lock
	$(BIN)/uv pip install --quiet --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@$(BIN)/python -c "from biomedica_kedro.jats.tree import IS_COMPILED as c; c or print('No C compiler: extraction will be slower.')"
	@touch $@

install: $(VENV)/.stamp  ## make .venv from the hashed lock

run: install  ## all six pipelines on the embedded corpus
	kedro run

test: install lint  ## lint, import contracts, types and the whole test suite
	pytest --numprocesses=auto --cov=biomedica_kedro --cov-report=term:skip-covered --cov-fail-under=92

lint: install  ## style, import contracts and types
	ruff check .
	ruff format --check .
	lint-imports
	mypy

viz: install  ## walk the pipelines in a browser
	kedro viz run

mlflow: install  ## compare models on the dashboard
	python -m biomedica_kedro.dashboard

browse: install  ## search the archive in a browser
	python -m biomedica_kedro.archive

label: install  ## label image clusters in a browser
	python -m biomedica_kedro.labels

bench: install  ## measure the claims of the documentation
	python benchmarks/run.py

docs: install  ## read the documentation in a browser
	NO_MKDOCS_2_WARNING=1 mkdocs serve --strict

lock:  ## resolve the dependencies again
	uv pip compile pyproject.toml --all-extras --universal --python-version 3.11 --generate-hashes \
	  --no-emit-index-url --no-emit-find-links --custom-compile-command "make lock" --output-file requirements.lock

clean:  ## forget every computed file
	find data ! -type d ! -name .gitkeep ! -path data/README.md -delete
	find data -mindepth 2 -type d -empty -delete
