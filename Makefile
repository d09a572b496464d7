# Everything that a machine with Python >= 3.11 and make needs. `make help` lists the targets.
SHELL := /bin/bash
.DEFAULT_GOAL := help

# The first interpreter on the PATH that is new enough; `make PYTHON=/path/to/python ...` chooses another.
NEW_ENOUGH := import sys; sys.exit(sys.version_info < (3, 11))
PYTHON ?= $(shell for p in python3 python3.14 python3.13 python3.12 python3.11; do \
	$$p -c '$(NEW_ENOUGH)' >/dev/null 2>&1 && echo $$p && break; done)

VENV := .venv
BIN := $(VENV)/bin
BENCH := .venv-bench
CONSTRAINTS := requirements/constraints.txt
PIP_FLAGS := --quiet --disable-pip-version-check
PIP := $(BIN)/python -m pip install $(PIP_FLAGS) -c $(CONSTRAINTS)
WORKERS ?= 2

export OMP_NUM_THREADS ?= 1

.PHONY: help demo test test-all lint format bench floors coverage docs clean

help: ## list the targets
	@sed -nE 's/^([a-z-]+):.*## (.*)/make \1|\2/p' $(MAKEFILE_LIST) | column -t -s '|'

$(BIN)/python:
	@test -n "$(PYTHON)" || { echo "weightwalk needs Python 3.11 or newer, and none is on the PATH;" \
		"install one, or name it: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; }
	@"$(PYTHON)" -c '$(NEW_ENOUGH)' || { echo "weightwalk needs Python 3.11 or newer; $(PYTHON) is" \
		"$$("$(PYTHON)" --version 2>&1); name another: make PYTHON=/path/to/python3 $(MAKECMDGOALS)" >&2; exit 1; }
	@echo "making $(VENV) with $$("$(PYTHON)" --version)"
	@"$(PYTHON)" -m venv $(VENV) || { rm -rf $(VENV); echo "could not make $(VENV): the venv module is missing or" \
		"incomplete (Debian and Ubuntu: apt install python3-venv)" >&2; exit 1; }

# torch first and by itself: whatever needs it later is then content with the build that is there.
$(VENV)/.torch: $(CONSTRAINTS) | $(BIN)/python
	@echo "installing torch (once; the largest download)"
	@$(PIP) torch
	@touch $@

$(VENV)/.demo: $(VENV)/.torch pyproject.toml
	@echo "installing weightwalk"
	@$(PIP) -e '.[torch,hf,formulas,learning,plots]'
	@touch $@

$(VENV)/.dev: $(VENV)/.torch pyproject.toml
	@echo "installing weightwalk and what its tests need"
	@$(PIP) -e '.[dev]'
	@touch $@ $(VENV)/.demo

demo: $(VENV)/.demo ## install, then take the tour
	@$(BIN)/weightwalk demo

test: $(VENV)/.dev ## install what the tests need, then run them
	@$(BIN)/python -m pytest -n $(WORKERS) $(ARGS)

test-all: $(VENV)/.dev ## the slow tests too
	@$(BIN)/python -m pytest -n $(WORKERS) -m "" $(ARGS)

lint: $(VENV)/.dev ## ruff and pyright
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/pyright --pythonpath $(BIN)/python

format: $(VENV)/.dev ## let ruff mend what it can
	@$(BIN)/ruff check --fix .
	@$(BIN)/ruff format .

$(BENCH)/.ready: benchmarks/constraints.txt pyproject.toml | $(BIN)/python
	@echo "making $(BENCH): weightwalk and the peers that it is measured against"
	@$(BIN)/python -m venv $(BENCH)
	@$(BENCH)/bin/python -m pip install $(PIP_FLAGS) -c benchmarks/constraints.txt torch
	@$(BENCH)/bin/python -m pip install $(PIP_FLAGS) -c benchmarks/constraints.txt -e '.[hf]' \
		torchlens nnsight transformer-lens relucent scipy loss-landscapes==3.0.6
	@touch $@

bench: $(BENCH)/.ready ## measure us against the peers, side by side, in one run
	@$(BENCH)/bin/python -m benchmarks $(ARGS)

floors: $(VENV)/.demo ## verify a walk with the oldest dependencies that pyproject.toml admits, and no torch
	@rm -rf $(VENV)-floors && $(BIN)/python -m venv $(VENV)-floors
	@$(VENV)-floors/bin/python -m pip install $(PIP_FLAGS) -r requirements/floors.txt .
	@$(BIN)/weightwalk walk sqrt 2.0 --save $(VENV)-floors/sqrt.walk >$(VENV)-floors/sqrt.txt
	@$(VENV)-floors/bin/weightwalk verify $(VENV)-floors/sqrt.walk
	@$(VENV)-floors/bin/weightwalk show $(VENV)-floors/sqrt.walk

coverage: $(VENV)/.dev ## write docs/coverage.md: every architecture of the tests, verified and accounted
	@$(BIN)/python -m tools.coverage $(ARGS)

docs: $(VENV)/.dev ## write what is made from the code: reference pages, pictures, outputs shown on the pages
	@$(BIN)/python -m tools.reference
	@$(BIN)/python -m tools.pages --write $(ARGS)

clean: ## remove what make made
	rm -rf $(VENV) $(BENCH) $(VENV)-floors build dist .pytest_cache .ruff_cache .hypothesis
