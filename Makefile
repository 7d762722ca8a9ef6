# The commands of the project. On a new machine, `make pretrain` is all you need; see README.md.
SHELL := /bin/bash
VENV ?= .venv
BIN := $(VENV)/bin
export VENV
# Tests run in as many processes as there are cores, at most four; PARALLEL= runs them in one.
PARALLEL ?= -n logical --maxprocesses 4 --dist loadgroup

.PHONY: help setup pretrain sft full test test-fast test-faults test-walk check ui reindex reap docs code-versions

help:
	@echo "make setup     create the environment (.venv) and prepare the instance; fast if they exist"
	@echo "make pretrain  set up, then train a small model, from text to evaluation, and show a summary"
	@echo "make sft       the same, up to the fine-tuned model"
	@echo "make full      everything: pretraining, fine-tuning, preference tuning, evaluation"
	@echo "make ui        run the web UIs: Dagster, MLflow, the reports (PORT=3000 MLFLOW_PORT=5000 REPORT_PORT=3001)"
	@echo "make docs      the documents as a site, in build/site"
	@echo "make test      set up, then run all tests"
	@echo "make test-fast run the fast tests, in under two minutes"
	@echo "make test-faults  kill the project, and fail its disk, at every operation on files (hours; for the night)"
	@echo "make test-walk click through the running UI in headless Chromium (minutes)"
	@echo "make check     check style and types: ruff format, ruff, mypy"
	@echo "make code-versions  record the code of each stage, after raising its VERSION or if its results are unchanged"
	@echo "make reap      mark runs whose process died as failed and free their slots"
	@echo "make reindex   rebuild Dagster's history from the store"

setup:
	@scripts/setup.sh

pretrain: setup
	@$(BIN)/dagster job execute -j pretrain_job
	@$(BIN)/slm summary

sft: setup
	@$(BIN)/dagster job execute -j sft_job
	@$(BIN)/slm summary

full: setup
	@$(BIN)/dagster job execute -j full_job
	@$(BIN)/slm summary

test: setup
	@$(BIN)/python -m pytest $(PARALLEL) $(TESTS)

test-fast: setup
	@$(BIN)/python -m pytest -m "not slow" -q $(TESTS)

test-faults: setup
	@SLM_FAULTS=all $(BIN)/python -m pytest tests/faults $(TESTS)

test-walk: setup
	@SLM_WALK=1 $(BIN)/python -m pytest tests/end_to_end/test_walk.py $(TESTS)

check: setup
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/mypy

ui: setup
	@$(BIN)/slm ui --host $(or $(HOST),127.0.0.1) --port $(or $(PORT),3000) --mlflow-port $(or $(MLFLOW_PORT),5000) \
		--report-port $(or $(REPORT_PORT),3001)

docs:
	@$(BIN)/python -c 'import myst_parser, furo' 2>/dev/null || { echo "The site needs the extra docs: $(BIN)/pip install -e '.[docs]' -c requirements.lock"; exit 1; }
	@$(BIN)/python -m sphinx -q -W --keep-going -c docs . build/site
	@echo "build/site/docs/guide/index.html"

code-versions: setup
	@$(BIN)/python -m tests.code_versions

reap: setup
	@$(BIN)/slm reap

reindex: setup
	@$(BIN)/slm reindex
