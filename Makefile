# Everything a fresh clone needs: Python 3.11 or newer, and make. `make help` lists the targets.

PYTHON ?= python3
VENV   ?= .venv
BIN    := $(VENV)/bin
STAMP  := $(VENV)/.installed
ARGS   ?=

PIP_INSTALL := -m pip install --quiet --disable-pip-version-check --no-compile

.PHONY: help install demo serve test lint format stubs sync configuration bench sim chaos proof docs wheel runtime lock release-proto clean

help: ## List the targets.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

install: $(STAMP) ## Create .venv with the locked dependencies and osqueue itself.

# --no-deps: the lock is complete, so there is nothing to resolve.
$(STAMP): requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11) and "osqueue needs Python 3.11 or newer; set PYTHON=")'
	@test -x $(BIN)/python || { echo "creating $(VENV) ..."; $(PYTHON) -m venv $(VENV); }
	@echo "installing into $(VENV) ..."
	@$(BIN)/python $(PIP_INSTALL) --no-deps --require-hashes -r requirements.lock
	@$(BIN)/python $(PIP_INSTALL) --no-deps --no-build-isolation --editable .
	@touch $@

demo: $(STAMP) ## Watch 2,000 jobs survive a kill -9 of their broker.
	@$(BIN)/osqueue demo $(ARGS)

serve: $(STAMP) ## Run a broker on a local directory.
	@$(BIN)/osqueue serve $(ARGS)

# Side by side, on as many cores as there are (tests/conftest.py says what stays together).
SIDE_BY_SIDE = --numprocesses auto --maxprocesses 4 --dist loadgroup

test: $(STAMP) ## Run all tests.
	$(BIN)/python -m pytest $(SIDE_BY_SIDE) $(ARGS)

# The API as last released: what comes after it may add to it, and never break it.
LAST_RELEASED = $(lastword $(shell ls proto/released/*.binpb | sort -V))

lint: export PATH := $(abspath $(BIN)):$(PATH)
lint: $(STAMP) ## Check style, types, imports, proto, English and the freshness of what is generated.
	ruff check .
	ruff format --check .
	mypy
	lint-imports
	buf lint
	buf format --diff --exit-code
	buf breaking --against $(LAST_RELEASED)
	python scripts/generate_stubs.py --check
	python scripts/generate_api_comments.py --check
	python scripts/generate_sync.py --check
	python scripts/generate_configuration.py --check
	python scripts/generate_rights.py --check
	python scripts/check_words.py

configuration: $(STAMP) ## Write the tables of docs/configuration.md from what the code knows.
	$(BIN)/python scripts/generate_configuration.py
	$(BIN)/python scripts/generate_rights.py

format: $(STAMP) ## Rewrite Python and proto files in the project's style.
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .
	$(BIN)/buf format --write

stubs: $(STAMP) ## Generate osqueue_stubs/ and the API's comments from proto/.
	$(BIN)/python scripts/generate_stubs.py
	$(BIN)/python scripts/generate_api_comments.py

sync: $(STAMP) ## Generate osqueue/sync/ from the asynchronous client.
	$(BIN)/python scripts/generate_sync.py

bench: $(STAMP) ## Measure; ARGS selects.
	$(BIN)/python -m benchmarks $(ARGS)

SEEDS ?= 200
sim: $(STAMP) ## Simulate SEEDS clusters on a virtual clock.
	$(BIN)/python -m tests.simulation --seeds $(SEEDS) $(ARGS)

chaos: $(STAMP) ## Break real processes on purpose.
	$(BIN)/python -m pytest tests/chaos $(ARGS)

proof: $(STAMP) ## The long runs: models, many simulated clusters, chaos, the dashboard kept open for long.
	$(BIN)/python -m tests.model
	$(BIN)/python -m tests.unit.timetable.all_zones
	$(BIN)/python -m tests.simulation --seeds 20000 $(ARGS)
	$(BIN)/python -m tests.damage
	$(BIN)/python -m pytest tests/chaos $(ARGS)
	$(BIN)/python -m tests.browser.endurance
	$(BIN)/python scripts/prove_runtimes.py
	$(BIN)/python scripts/rehearse_image.py
	scripts/install_proof_servers.sh
	OSQUEUE_REQUIRE_SERVERS=1 $(BIN)/python -m pytest tests/conformance/stores/proof_s3.py

docs: $(STAMP) ## Generate the API reference into build/docs.
	$(BIN)/python scripts/generate_reference.py

wheel: $(STAMP) ## Build the wheel into dist/.
	$(BIN)/python -m build --wheel --no-isolation --outdir dist

# What the container image holds: the locked run-time dependencies and the wheel, no tools.
RUNTIME ?= build/runtime
runtime: wheel ## Install the wheel with its run-time dependencies into RUNTIME.
	$(PYTHON) -m venv $(RUNTIME)
	$(RUNTIME)/bin/python $(PIP_INSTALL) --no-deps --require-hashes -r deploy/requirements.lock
	$(RUNTIME)/bin/python $(PIP_INSTALL) --no-deps --force-reinstall dist/osqueue-*.whl

UV_COMPILE = $(BIN)/uv pip compile --quiet --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header pyproject.toml
lock: ## Resolve the dependencies anew (UPGRADE=--upgrade to take newer versions).
	$(UV_COMPILE) $(UPGRADE) --all-extras --output-file requirements.lock
	$(UV_COMPILE) $(UPGRADE) --extra all --constraints requirements.lock --output-file deploy/requirements.lock

release-proto: $(STAMP) ## Freeze the API as released: VERSION=v0.1.0.
	@test -n "$(VERSION)" || { echo "say which: make release-proto VERSION=v0.1.0"; exit 1; }
	$(BIN)/buf build --exclude-source-info --output proto/released/$(VERSION).binpb

clean: ## Remove what the targets made, .venv included.
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .import_linter_cache .hypothesis
	find . -name __pycache__ -type d -not -path './.cache/*' -prune -exec rm -rf {} +
