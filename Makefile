# Everything a person types. `make help` lists it; each target says what it is for.
#
# Targets create $(VENV) themselves from the hashed files in requirements/; a stamp in it makes
# the second run free. Which index packages come from is the machine's business, not ours.

SHELL := /bin/sh
# Images of Python often set it: every process of the suite would compile all it imports anew.
unexport PYTHONDONTWRITEBYTECODE
.DELETE_ON_ERROR:
.DEFAULT_GOAL := help

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
ARGS   ?=
PYTEST ?= $(BIN)/python -m pytest

ASSETS := src/holdfast/web/static/vendor/.complete

# uv first, because it is quick, with the machine's own certificates; pip where uv cannot reach
# what pip was configured for.
define install
$(BIN)/uv --quiet --system-certs pip install --python $(BIN)/python $(1) || { \
  echo "  uv could not; trying pip" >&2; \
  $(BIN)/python -m pip install --quiet --disable-pip-version-check $(1); }
endef

# With ARGS only what they select runs, at once and in one process; without, everything.
NARROWED := $(strip $(ARGS))
# What of the suite runs where: benches, a real engine and the real OpenClaw have their own targets.
SUITE := --ignore=tests/bench --ignore=tests/docker -m "not docker and not openclaw and not clawmetry and not inspector" $(if $(NARROWED),,--ignore=tests/house)
# Tests wait as long as they compute; a file stays in one process, with what it shares.
WORKERS ?= $(if $(NARROWED),0,5)
SPREAD  := --dist loadfile --no-loadscope-reorder
# Releases of the ClawMetry daemon that are run: the newest seen, and one that resends on a 403.
CLAWMETRY := 0.12.937 0.12.170
# Percent of the branches of pure files that tests/unit alone must reach (make coverage).
PURE_COVERAGE ?= 96

# Requests of a fuzzing campaign, and its first seed.
CASES ?= 1000000
FROM  ?= 0

# Mutants of one run; without a seed, those that no run has tried.
SAMPLE ?= 1000
SEED   ?=

.PHONY: help up test suite whole unit check lint basedpyright mypy collect house dead imports coverage matrix bench boards power sim previews fuzz \
  mutants test-openclaw test-docker test-clawmetry test-inspector docs lock hooks clean env env-dev

help: ## this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

up: env ## start the plane with a demo agent and print the link to its dashboard
	@$(BIN)/holdfast up $(ARGS)

test: $(if $(NARROWED),,check) suite ## everything that must hold: check, then the suite (ARGS="-k name": only those tests)

suite: env-dev ## the suite without check
	@$(BIN)/python tools/real_parts.py all
	@$(PYTEST) $(SUITE) --numprocesses $(WORKERS) $(SPREAD) $(ARGS)

whole: ## the suite, with all of each campaign of which it runs a slice (tests/support/slices.py)
	@HOLDFAST_WHOLE=1 $(MAKE) --no-print-directory suite

unit: env-dev ## only tests/unit: pure and quick
	@$(PYTEST) tests/unit --numprocesses 2 $(SPREAD) $(ARGS)

# The longest first: basedpyright takes as long as all that runs beside it.
check: env-dev ## lint, types, import contracts, dead code, house rules; two at a time, all verdicts
	@$(MAKE) --no-print-directory --jobs 2 --keep-going --output-sync=target \
	  lint basedpyright mypy collect house dead imports

lint: env-dev
	$(BIN)/ruff check
	$(BIN)/ruff format --check

mypy: env-dev
	$(BIN)/mypy

basedpyright: env-dev
	$(BIN)/basedpyright

# In a fresh clone this compiles what tests import, once: each worker of the suite would do it.
collect: env-dev
	@$(PYTEST) $(SUITE) --collect-only -qq >$(VENV)/collected || { cat $(VENV)/collected; exit 1; }

imports: env-dev
	$(BIN)/lint-imports --no-logo

dead: env-dev
	$(BIN)/python tools/dead_code.py

house: env-dev
	$(PYTEST) -q tests/house

coverage: env-dev ## branch coverage of pure files from tests/unit alone; fails below PURE_COVERAGE
	@$(PYTEST) -q tests/unit --numprocesses 2 $(SPREAD) --cov --cov-report=
	@$(BIN)/coverage report --include="$$($(BIN)/python tools/pure_files.py)" \
	  --fail-under=$(PURE_COVERAGE)

matrix: env-dev ## the suite on each supported Python on PATH, each in an environment of its own
	@$(BIN)/python tools/matrix.py

bench: env-dev ## measure the figures of docs/performance.md
	$(BIN)/python -m tests.bench $(ARGS)

power: env-dev ## lose power 10,000 times beside every store (ARGS="--cuts 500 --only stores")
	@$(BIN)/python tools/real_parts.py all
	$(BIN)/python -m tests.bench.bench_power_loss $(ARGS)

sim: env-dev ## the whole fleet in virtual time, over many seeds
	$(BIN)/python -m holdfast.sim $(ARGS)

previews: env-dev ## the dry runs of generated towns against the ticks that follow (ARGS="--towns 100000 --large 100")
	$(BIN)/python -m tests.bench.bench_town_previews $(ARGS)

fuzz: env-dev ## CASES requests made from seeds, FROM the first, to plane and controller
	$(BIN)/python -m tests.fuzz plane --cases $(CASES) --from $(FROM) $(ARGS)
	$(BIN)/python -m tests.fuzz controller --cases $(CASES) --from $(FROM) $(ARGS)

mutants: env-dev ## change SAMPLE tokens of pure files, one by one: does a test fail? (SEED=N)
	@$(BIN)/python -m tools.mutants --sample $(SAMPLE) $(if $(SEED),--seed $(SEED)) $(ARGS)

test-openclaw: env-dev ## end to end with the real OpenClaw (a large download from npm)
	@$(BIN)/python tools/real_parts.py all
	$(PYTEST) tests -m openclaw --timeout=900 $(ARGS)

test-docker: env-dev ## machines as containers of a real engine (Podman; a root of Debian's, once)
	@$(BIN)/python tools/real_parts.py docker
	$(PYTEST) tests/docker tests/contract/clouds -m docker --timeout=180 $(ARGS)

test-clawmetry: env-dev $(CLAWMETRY:%=.venv-clawmetry-%/.installed) ## the real ClawMetry daemons against a plane: minutes each
	$(PYTEST) tests/clawmetry -m clawmetry --timeout=1200 $(ARGS)

test-inspector: env-dev ## the MCP server of agents' tools by the inspector's command line (from npm)
	$(PYTEST) tests/inspector -m inspector --timeout=900 $(ARGS)

# Each release in an environment of its own: it is a program beside ours, never imported.
.venv-clawmetry-%/.installed:
	@$(PYTHON) -m venv $(@D)
	@$(@D)/bin/python -m pip install --quiet --disable-pip-version-check "clawmetry==$*"
	@touch $@

docs: env-dev ## write docs/reference/ again from the code
	$(BIN)/python tools/reference.py

boards: env-dev ## write the boards of Grafana again (src/holdfast/monitoring/grafana)
	@$(BIN)/python -m tools.boards

lock: env-dev ## resolve the requirement files and the front-end lock again
	$(BIN)/python -m tools.lock

hooks: env-dev ## have git run ruff and mypy before each commit (.pre-commit-config.yaml)
	$(BIN)/pre-commit install

clean: ## remove the environments, caches and build folders
	rm -rf .venv .venv-3.* .venv-clawmetry-* build dist htmlcov .coverage .coverage.* src/holdfast/web/static/vendor
	rm -rf .mypy_cache .ruff_cache .pytest_cache .import_linter_cache .hypothesis .benchmarks
	find src tests tools -name __pycache__ -type d -prune -exec rm -rf {} +

# ---------------------------------------------------------------------- environment

env: $(VENV)/.plane $(VENV)/.project $(ASSETS)
env-dev: $(VENV)/.dev $(VENV)/.project $(ASSETS)

# Everything hangs on a Python that works, so this also catches one that was moved or removed.
$(VENV)/.tools: requirements/build.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { \
	  echo "Holdfast needs Python 3.11 or newer; $(PYTHON) is older or does not run:" >&2; \
	  echo "  make $(MAKECMDGOALS) PYTHON=/path/to/python3.11" >&2; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "· installer and build tools"
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check \
	  --require-hashes --requirement requirements/build.txt
	@touch $@

$(VENV)/.plane: $(VENV)/.tools requirements/plane.txt
	@echo "· the plane's packages"
	@$(call install,--require-hashes --requirement requirements/plane.txt)
	@touch $@

$(VENV)/.dev: $(VENV)/.tools requirements/dev.txt
	@echo "· development packages"
	@$(call install,--require-hashes --requirement requirements/dev.txt)
	@touch $@ $(VENV)/.plane

# Without isolation and dependencies: everything it needs came from the hashed files.
$(VENV)/.project: $(VENV)/.tools pyproject.toml
	@echo "· holdfast itself, editable"
	@$(call install,--no-build-isolation --no-deps --editable .)
	@touch $@

$(ASSETS): web-assets/package-lock.json tools/real_parts.py | $(VENV)/.tools
	@echo "· front-end files"
	@$(BIN)/python tools/real_parts.py assets
