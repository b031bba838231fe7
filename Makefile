# Everything needs only python3 (3.11 or newer, with venv), make and git; `make lock` needs uv.
PYTHON ?= python3
PYTEST_ARGS ?= -n 2 --dist worksteal
ARGS ?=

BIN := .venv/bin
INSTALLED := .venv/.installed
PIP := $(BIN)/python -m pip --disable-pip-version-check

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help setup web demo check test bench reference lock clean

help: ## Show this list
	@sed -n 's/^\([a-z]*\):.*## /\1\t/p' Makefile | expand -t 10

setup: $(INSTALLED) ## Install the locked libraries and Terrazzo itself into .venv

$(INSTALLED): requirements.lock pyproject.toml hatch_build.py
	@command -v $(PYTHON) >/dev/null || { \
	  echo "There is no $(PYTHON) here. Install Python 3.11 or newer, or name one:" \
	    "make setup PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Terrazzo needs Python 3.11 or newer; $(PYTHON) is `$(PYTHON) -V 2>&1`. Name a newer" \
	    "one: make setup PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(PYTHON) -c 'import ensurepip, venv' 2>/dev/null || { \
	  echo "$(PYTHON) has no venv with pip. On Debian and Ubuntu: apt-get install python3-venv." \
	    "Or name another Python: make setup PYTHON=/path/to/python3.12" >&2; exit 1; }
	@$(BIN)/python -m pip --version >/dev/null 2>&1 || $(PYTHON) -m venv .venv
	$(PIP) install --quiet --require-hashes -r requirements.lock
	PATH="$(CURDIR)/$(BIN):$$PATH" $(PIP) install --quiet --no-deps --no-build-isolation --editable .
	@# Every process loads these modules, also where Python may keep nothing that it compiles.
	$(BIN)/python -m compileall -q src
	@# Without this the first tile of each kind would wait for compilers, once. It may fail.
	@echo "Compiling kernels (once, a minute or two)"
	-@$(BIN)/python -c "from terrazzo.drivers.ready import make_ready; make_ready()"
	@touch $@

web: setup ## Build anew what browsers are sent, from web/
	$(BIN)/python hatch_build.py build

demo: setup ## Sample data, catalogue, and a map in the browser; ARGS="--port 8000" and the like
	$(BIN)/terrazzo demo $(ARGS)

check: setup ## Style, types, layers and changelog fragments
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports
	$(BIN)/python hatch_build.py check
	$(BIN)/towncrier build --draft --version next >/dev/null

test: check ## Everything that must hold before a commit; PYTEST_ARGS="-k tile" for a part
	$(BIN)/python -m pytest $(PYTEST_ARGS)

bench: setup ## Measure against the peers; ARGS names benchmarks
	$(BIN)/python -m bench $(ARGS)

reference: setup ## Write docs/processes.md, errors.md and cli.md anew from the code
	$(BIN)/python -m scripts.process_reference
	$(BIN)/python -m scripts.error_reference
	$(BIN)/python -m scripts.cli_reference

lock: ## Bring requirements.lock in line with pyproject.toml; ARGS=--upgrade for newer versions
	@command -v uv >/dev/null || { echo "make lock needs uv: pip install uv" >&2; exit 1; }
	uv pip compile pyproject.toml --quiet --universal --all-extras --group dev \
	  --generate-hashes --no-header --output-file requirements.lock $(ARGS)

clean: ## Remove the environment, caches and builds, never data
	rm -rf .venv .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache \
	  .benchmarks build dist web/node_modules src/terrazzo/browser/built
	find src tests bench -name __pycache__ -prune -exec rm -rf {} + 2>/dev/null || true
