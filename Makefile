# Everything runs in .venv, made here from uv.lock. `make help` lists the targets.

PYTHON ?= python3
VENV   := .venv
UV     := $(VENV)/bin/uv
SYNCED := $(VENV)/.synced
SYNCED_RUN := $(VENV)/.synced-run
LOCKED := pyproject.toml uv.lock shared/pyproject.toml shared/telemetry/pyproject.toml services/gateway/pyproject.toml services/store/pyproject.toml
SYNC   := UV_PYTHON_DOWNLOADS=never $(UV) sync --quiet --frozen --all-packages --inexact

SIDE_BY_SIDE := --numprocesses 3 --dist loadfile --no-loadscope-reorder
# What is tested on tables in partitions as well: all that is said of the store, but for the embedded server.
STORE_TESTS := tests/unit/store tests/integration/store --ignore tests/unit/store/embedded

.DEFAULT_GOAL := help
.PHONY: help run up down logs roll backup restore test check format bench chaos clean

help:  ## List the targets
	@grep -hE '^[a-z]+:.*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-8s %s\n", $$1, $$2}'

run: $(SYNCED_RUN)  ## Start PostgreSQL, store, model and gateway on this machine
	@exec $(VENV)/bin/python services/run.py

up:  ## Start it in containers: two stores, two gateways, a proxy (needs Docker)
	@sh deploy/up.sh

down:  ## Stop the containers; the data stays
	docker compose --profile '*' down

logs:  ## Follow what the containers log
	docker compose logs --follow --tail 100

roll:  ## Replace stores and gateways one by one, without losing an answer
	@sh deploy/roll.sh

backup:  ## Write what the containers keep into a folder (TO=folder)
	@sh deploy/backup.sh

restore:  ## Put a backup in the place of what the containers keep (FROM=folder)
	@sh deploy/restore.sh

test: $(SYNCED)  ## Run all tests, three files at a time (T=path picks some)
	$(VENV)/bin/pytest $(if $(T),$(T),$(SIDE_BY_SIDE) --ignore tests/containers --ignore tests/chaos)
	$(if $(T),,BOBBIN_PARTITIONS=4 $(VENV)/bin/pytest $(SIDE_BY_SIDE) $(STORE_TESTS))
	$(if $(T),,$(VENV)/bin/pytest tests/containers tests/chaos)

check: $(SYNCED)  ## Lint, format, types and import contracts
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .
	$(VENV)/bin/pyright
	$(VENV)/bin/lint-imports

format: $(SYNCED)  ## Mend what can be mended automatically
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

bench: $(SYNCED)  ## Measure cost and speed beside the reference stack (ARGS=--quick: in a minute)
	$(VENV)/bin/python -m tests.bench $(ARGS)

chaos: $(SYNCED)  ## Kill processes while users talk, and see what is left (ARGS=--help)
	$(VENV)/bin/python -m tests.chaos $(ARGS)

clean:  ## Remove what was built; data in .data stays
	rm -rf $(VENV) .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -prune -exec rm -rf {} +

# uv comes from PyPI into our own .venv, so that a machine needs nothing but Python and make.
$(UV):
	@$(PYTHON) -c 'import sys; sys.exit("Bobbin needs Python 3.11 or later; set PYTHON=...") if sys.version_info < (3, 11) else None'
	$(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install --quiet --disable-pip-version-check 'uv>=0.9'

$(SYNCED): $(UV) $(LOCKED)
	$(SYNC)
	@touch $@ $(SYNCED_RUN)

# What tests and linters need is left out where people only want to run it.
$(SYNCED_RUN): $(UV) $(LOCKED)
	$(SYNC) --no-dev
	@touch $@
