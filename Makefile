# The commands of the template. A fresh machine needs git, make and Python 3.11 to 3.14.

PYTHON ?= $(shell for name in python3.11 python3 python3.14 python3.13 python3.12; do \
	"$$name" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info < (3, 15))' 2> /dev/null && echo "$$name" && break; done)
# The make of macOS (3.81) finds programs in the PATH below only through a shell that is not its own.
SHELL := $(shell command -v bash || echo /bin/sh)
VENV := .venv
DEMO := build/review-sentiment
PROJECT := {{cookiecutter.project_slug}}
TEAM := {% if cookiecutter.__team %}
PRODUCTION := {% if cookiecutter.__production %}
SERVICE_LOCK := $(PROJECT)/$(PRODUCTION)requirements-service.lock{% endif %}
export PATH := $(CURDIR)/$(VENV)/bin:$(PATH)
export DVC_NO_ANALYTICS := 1

.DEFAULT_GOAL := help
.PHONY: help
help:  ## List the commands
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed 's/:.*## /\t/' | expand -t 12

.PHONY: setup
setup: $(VENV)/installed  ## Make .venv and install the locked requirements (TORCH_INDEX=… takes torch from another index)

$(VENV)/installed: requirements.lock $(PROJECT)/requirements.lock requirements-sample.lock
	$(or $(PYTHON),$(error no Python from 3.11 to 3.14 is found: make setup PYTHON=…)) -m venv $(VENV)
	$(if $(TORCH_INDEX),pip install --quiet --index-url $(TORCH_INDEX) torch==2.13.0)
	pip install --quiet -r requirements.lock -r '$(PROJECT)/requirements.lock' -r '$(SERVICE_LOCK)'
	pip install --quiet --no-deps -r requirements-sample.lock
	touch $@

.PHONY: demo
demo: setup  ## Grow the default project in build/, run its pipeline on real data, and show the four models
	rm -rf $(DEMO) $(DEMO)-storage
	cookiecutter --no-input --output-dir build .
	ln -s ../../$(VENV) $(DEMO)/.venv
	$(MAKE) -C $(DEMO) setup
	cd $(DEMO) && git add . && git -c user.name=Demo -c user.email=demo@example.com commit --quiet --no-gpg-sign -m 'Grow the project'
	$(MAKE) -C $(DEMO) repro
	cd $(DEMO) && git add . && git -c user.name=Demo -c user.email=demo@example.com commit --quiet --no-gpg-sign -m 'Run the pipeline'
	$(MAKE) -C $(DEMO) push
	@echo
	@$(MAKE) --no-print-directory -C $(DEMO) results
	@printf '\nThe project is in $(DEMO), its remote in $(DEMO)-storage.\n'

.PHONY: test
test: setup lint  ## Run every test
	pytest -q

.PHONY: test-fast
test-fast: setup lint  ## Run the tests that train nothing on real data
	pytest -q -m "not slow"

.PHONY: fuzz
fuzz: setup  ## Try made-up bytes, quotes, headers and names of tables for two minutes
	FUZZ_EXAMPLES=4000 pytest -q -n 0 tests/test_tables.py -k "whatever or merge_no_rows or rightly or is_found"

.PHONY: fault-table
fault-table: setup  ## Write the table of docs/remotes.md anew from what the tests see
	WRITE_FAULT_TABLE=1 pytest -q tests/test_remote.py

.PHONY: size-table
size-table: setup  ## Write the table of the three sizes in README.md anew from what is grown
	WRITE_SIZE_TABLE=1 pytest -q -n 0 tests/test_scopes.py -k table

.PHONY: modules
modules: setup  ## Write modules.txt anew: the names that no package of a project may have
	WRITE_MODULES=1 pytest -q -n 0 tests/test_answers.py -k modules

$(DEMO)/reports/metrics.json:
	$(MAKE) demo

.PHONY: bench
bench: setup $(DEMO)/reports/metrics.json  ## Measure beside what one would use instead (ITEM=embeddings: all that begin so; PAIRS=…)
	python benchmarks/bench.py $(DEMO) $(ITEM) $(if $(PAIRS),--pairs $(PAIRS))

.PHONY: simulate
simulate: setup  ## Let a model live through half a year of requests, drift and retraining, and write docs/simulated_year.md
	rm -rf build/year
	cookiecutter --no-input --default-config --output-dir build/year . scope=production data_source=files
	ln -s ../../../$(VENV) build/year/review-sentiment/.venv
	python benchmarks/year.py build/year/review-sentiment

.PHONY: gpu-check
gpu-check: setup  ## Check the CUDA path on one NVIDIA card, and measure it beside the Trainer, in 8 minutes
	rm -rf build/gpu
	cookiecutter --no-input --output-dir build/gpu . hardware=cuda
	cd build/gpu/review-sentiment && PYTHONPATH=src python -m review_sentiment fetch
	python benchmarks/gpu.py build/gpu/review-sentiment

.PHONY: lint
lint: setup  ## Check the template's own Python
	ruff format --check hooks tests benchmarks *.py
	ruff check hooks tests benchmarks *.py

.PHONY: lock
lock: setup  ## Resolve all requirements anew into the locks
	rm -rf build/lock
	cookiecutter --no-input --accept-hooks no --output-dir build/lock . scope=production
	$(MAKE) -C build/lock/review-sentiment lock
	cp build/lock/review-sentiment/requirements.lock '$(PROJECT)/requirements.lock'
	cp build/lock/review-sentiment/requirements-supply-chain.lock '$(PROJECT)/$(TEAM)requirements-supply-chain.lock{% endif %}'
	cp build/lock/review-sentiment/requirements-service.lock '$(SERVICE_LOCK)'
	pip-compile --quiet --upgrade --strip-extras --allow-unsafe --no-header --no-annotate --no-emit-index-url \
		--no-emit-find-links --no-emit-trusted-host --constraint '$(PROJECT)/requirements.lock' --constraint '$(SERVICE_LOCK)' \
		--output-file requirements.lock requirements.in
