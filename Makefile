# Longtail on one machine without a GPU. Every target sets up what it needs; a second call reuses it.
SHELL := /bin/bash -o pipefail
VENV := .venv
# Python compiles what it needs at first use; pip would compile all 200 packages, one file after another.
PIP := $(VENV)/bin/python -m pip --disable-pip-version-check install -qq --progress-bar off --no-deps --no-compile
# DeepSpeed builds its CPU communication with ninja, which lies beside the interpreter.
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
# What it builds lies in the environment: two environments that share a folder build it over and over, under one lock.
export TORCH_EXTENSIONS_DIR := $(CURDIR)/$(VENV)/torch_extensions
# Some containers set it. Every worker process would then compile anew what it imports.
unexport PYTHONDONTWRITEBYTECODE

# Two files at a time, for an engine's start leaves a processor idle; in the order of tests/conftest.py.
PYTEST := $(VENV)/bin/python -m pytest --numprocesses=2 --dist=loadfile --no-loadscope-reorder

.PHONY: help setup demo test faults benchmarks doctor lint docs clean

help:  ## these lines
	@awk -F ':.*## ' '/^[a-z]+:.*## /{printf "make %-8s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

setup: $(VENV)/.ready  ## an environment of its own in .venv (minutes, once)

demo: setup  ## simulated store -> LLM augmentation -> retrained recommenders -> runs/demo/report/index.html
	@$(VENV)/bin/longtail run demo --workspace runs/demo

test: setup  ## the tests, the real engines included (about 25 minutes)
	@$(PYTEST) -m "not faults and not benchmarks"

benchmarks: setup  ## the benchmarks in small: that they run, and measure what they say (5 minutes)
	@$(PYTEST) -m benchmarks

faults: setup  ## engines, workers, drivers and nodes killed under a run (20 to 45 minutes)
	@$(PYTEST) -m "faults and not alone"
	@$(VENV)/bin/python -m pytest -m "faults and alone"

doctor: setup  ## what this machine has, and how to mend what it lacks
	@$(VENV)/bin/longtail doctor

lint: setup  ## ruff
	@$(VENV)/bin/ruff check . && $(VENV)/bin/ruff format --check .

docs: build/docs-environment/.ready  ## the documents as a site, build/site/index.html
	@NO_MKDOCS_2_WARNING=1 build/docs-environment/bin/mkdocs build --strict --quiet --config-file docs/site/mkdocs.yml
	@echo "build/site/index.html"

clean:  ## remove the environment and everything made by runs
	rm -rf $(VENV) runs build *.egg-info .pytest_cache .ruff_cache .hypothesis

$(VENV)/.ready: requirements/torch-cpu.txt requirements/cpu.txt pyproject.toml
	@echo "set-up 1/4: environment in $(VENV)"
	@for python in python3.11 python3 /usr/bin/python3.11; do \
	    $$python -c 'import ensurepip, sys; sys.exit(sys.version_info[:2] != (3, 11))' 2>/dev/null \
	        && exec $$python -m venv $(VENV); \
	done; echo "Python 3.11 with its venv module is needed (Debian: python3.11 python3.11-venv)." >&2; exit 2
	@type c++ >/dev/null 2>&1 || { echo "A C++ compiler is needed (Debian: g++)." >&2; exit 2; }
	@echo "set-up 2/4: PyTorch for CPU"
	@$(PIP) -r requirements/torch-cpu.txt
	@echo "set-up 3/4: Ray, vLLM, DeepSpeed and the rest (about 200 packages, 2 to 4 minutes)"
	@$(PIP) -r requirements/cpu.txt
	@$(PIP) --no-build-isolation -e .
	@echo "set-up 4/4: DeepSpeed's CPU communication (compiled once, about a minute)"
	@# A compilation that was cut off leaves its lock, and every later one would wait for it for ever.
	@rm -f "$$TORCH_EXTENSIONS_DIR"/*/deepspeed_shm_comm/lock "$$TORCH_EXTENSIONS_DIR"/deepspeed_shm_comm/lock
	@DS_ACCELERATOR=cpu $(VENV)/bin/python -c \
	    'from deepspeed.ops.op_builder.cpu import ShareMemCommBuilder as Builder; Builder().load()' >$(VENV)/setup.log 2>&1 \
	    || { cat $(VENV)/setup.log >&2; exit 1; }
	@touch $@

build/docs-environment/.ready: requirements/docs.txt
	@python3 -m venv build/docs-environment
	@build/docs-environment/bin/python -m pip --disable-pip-version-check install -qq --progress-bar off --no-deps -r $<
	@touch $@
