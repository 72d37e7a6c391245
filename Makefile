# Everything is set up on first use, in .venv. "make" alone lists what there is.

DATE ?= 2013-02-08
PORT ?= 8080
ARGS ?=
# Two processes: one waits for whole Airflows, the other computes.
AT_ONCE := -n 2 --dist loadscope --no-loadscope-reorder

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
PEERS := $(VENV)/.peers
MACHINES := $(VENV)/.machines

MAKEFLAGS += --no-print-directory
.DEFAULT_GOAL := help
.SUFFIXES:

# A private Airflow: settings of another one in the caller's shell (its database!) must not leak in.
unexport $(filter AIRFLOW_%,$(.VARIABLES))
export AIRFLOW_HOME := $(CURDIR)/.airflow
# "airflow standalone" starts its parts by the name "airflow".
export PATH := $(CURDIR)/$(BIN):$(PATH)
export PIP_DISABLE_PIP_VERSION_CHECK := 1
export PIP_NO_INPUT := 1

.PHONY: help demo airflow machines test lint types layers format bench build clean

help: ## list the commands
	@awk 'BEGIN { FS = ":.*## " } /^[a-z]+:.*## / { printf "  make %-8s  %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

demo: $(READY) ## run the example report for DATE=YYYY-MM-DD (January and February 2013)
	@$(BIN)/python -m kimi_provider.testing.demo --date "$(DATE)"

airflow: $(READY) ## start a whole Airflow with its web UI on PORT=8080, ready to look around
	@$(BIN)/python -m kimi_provider.testing.standalone --port "$(PORT)"

machines: $(MACHINES) ## start Airflow as on several machines: Celery, two triggerers, S3
	@$(BIN)/python tests/machines/machines.py

test: $(READY) ## run every test (some: make test ARGS="tests/client -k stream")
	@$(BIN)/python -m pytest -q $(or $(ARGS),$(AT_ONCE))

lint: $(READY) ## check style and layout
	@$(BIN)/ruff check -q && $(BIN)/ruff format -q --check && echo "Style and layout are clean."

types: $(READY) ## check types
	@$(BIN)/mypy

layers: $(READY) ## check that rooms import only downwards
	@$(BIN)/lint-imports --no-logo

format: $(READY) ## lay out the code and repair what can be repaired
	@$(BIN)/ruff check -q --fix; $(BIN)/ruff format

bench: $(PEERS) ## compare speed and memory with peers: httpx, the openai SDK, pydantic-ai, common-ai
	@$(BIN)/python tests/bench/run.py $(ARGS)

build: $(READY) ## build the wheel and the source archive into dist/
	@$(BIN)/python -m build --no-isolation

clean: ## remove what runs and builds have made, but not .venv
	@rm -rf .airflow out dist build .mypy_cache .ruff_cache .pytest_cache .hypothesis .import_linter_cache
	@find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +

# uv installs in seconds what takes pip a minute; pip is there for where uv cannot be had.
define install
if ! { $(BIN)/python -m pip install -qq -c constraints.txt uv && \
	$(BIN)/uv pip install -q -p $(BIN)/python -c constraints.txt $(1); }; then \
	echo "uv could not do it; trying pip ..."; \
	$(BIN)/python -m pip install -qq -U "pip>=25.1" && \
	$(BIN)/python -m pip install -qq -c constraints.txt $(1); \
fi
endef

$(READY): pyproject.toml constraints.txt
	@echo "Setting up $(VENV) (once; about a minute) ..."
	@fits() { "$$1" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; }; \
	found=; if ! fits $(BIN)/python; then \
		for python in $(PYTHON) python3.13 python3.12 python3.11 python3 python; do \
			if fits "$$python"; then found=$$python; break; fi; \
		done; \
		if [ -z "$$found" ]; then \
			echo "No Python 3.11, 3.12 or 3.13 found. Install one, or name it: make PYTHON=/path/to/python3" >&2; \
			exit 1; \
		fi; \
		if ! "$$found" -m venv --clear $(VENV); then \
			echo "$$found cannot make a virtual environment (on Debian and Ubuntu: apt install python3-venv)." >&2; \
			exit 1; \
		fi; \
	fi
	@$(call install,--group dev -e .)
	@touch $@

$(MACHINES): $(READY)
	@echo "Installing what several machines need (once) ..."
	@$(call install,--group machines -e .)
	@touch $@

$(PEERS): $(READY)
	@echo "Installing the clients to compare with (once) ..."
	@$(call install,-e ".[bench]")
	@touch $@
