# ONEX. `make` lists what can be made; everything sets itself up on a fresh clone with Python 3.11 or newer.

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
SHELL := bash
.SHELLFLAGS := -euo pipefail -c

VENV := .venv
BIN := $(VENV)/bin
READY := $(VENV)/.ready
LOCKS := requirements/dev.txt requirements/uv.txt requirements/runtime.txt
CODE = $(wildcard src tests examples docs/generate.py)
COMPILE := $(BIN)/uv pip compile --quiet --system-certs --universal --python-version 3.11 --generate-hashes \
	--no-emit-index-url --no-header --no-annotate $(LOCK_ARGS)
ARGS ?=

.PHONY: help
help: ## list the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-10s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

.PHONY: setup
setup: $(READY) ## make .venv with the locked dependencies and onex itself (done once, again when a lock changes)
	@:

# A name on the PATH may be a shim that starts nothing, so each candidate is asked. The locks are installed by uv, which is
# ten times faster; pip stands in where uv cannot reach an index that pip is configured for.
$(READY): pyproject.toml $(LOCKS)
	@if ! $(BIN)/python -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
		python=; \
		for name in $${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14; do \
			if $$name -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$name; break; fi; \
		done; \
		if [ -z "$$python" ]; then \
			echo "make setup: no Python >= 3.11 with venv found (tried python3, python3.13, python3.12, python3.11, python3.14)." >&2; \
			echo "Install one (on Debian: python3 and python3-venv), or name it: make setup PYTHON=/path/to/python3.12" >&2; \
			exit 3; \
		fi; \
		echo "set-up: $$($$python --version) -> $(VENV)"; \
		$$python -m venv --clear $(VENV); \
	fi
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --require-hashes -r requirements/uv.txt
	@$(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python --require-hashes -r requirements/dev.txt \
		|| $(BIN)/python -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --require-hashes -r requirements/dev.txt
	@$(BIN)/uv pip install --quiet --system-certs --python $(BIN)/python --no-deps --no-build-isolation --editable .
	@touch $@

.PHONY: check
check: $(READY) ## format, lint, types, imports between the rooms
	$(BIN)/ruff format --check $(CODE)
	$(BIN)/ruff check --output-format concise $(CODE)
	$(BIN)/mypy --strict $(CODE)
	$(BIN)/lint-imports --no-logo --cache-dir .cache/import-linter

.PHONY: format
format: $(READY) ## fix what ruff can fix
	$(BIN)/ruff check --fix $(CODE)
	$(BIN)/ruff format $(CODE)

.PHONY: test
test: $(READY) ## every test that is not marked long (two processes, the same examples each time)
	$(BIN)/pytest -n 2 -m "not long" --hypothesis-profile=ci $(ARGS)

.PHONY: test-long
test-long: $(READY) ## the tests marked long, with many more examples
	$(BIN)/pytest -n 2 -m long --hypothesis-profile=long $(ARGS)

.PHONY: demo
demo: $(READY) ## run real workflows, kill their engine twice, prove that nothing was lost
	$(BIN)/onex demo $(ARGS)

.PHONY: bench
bench: $(READY) ## measure (make bench ARGS="durable --json")
	$(BIN)/onex bench $(ARGS)

.PHONY: docs
docs: $(READY) ## write the pages of docs/reference that are read off the code
	$(BIN)/python docs/generate.py

.PHONY: wheel
wheel: $(READY) ## build the wheel into dist/
	$(BIN)/python -m build --wheel --no-isolation --outdir dist

.PHONY: lock
lock: $(READY) ## resolve the dependencies again (make lock LOCK_ARGS=--upgrade takes the newest)
	$(COMPILE) pyproject.toml --output-file requirements/runtime.txt
	$(COMPILE) pyproject.toml --group dev --constraints requirements/runtime.txt --output-file requirements/dev.txt
	echo uv | $(COMPILE) - --constraints requirements/dev.txt --output-file requirements/uv.txt

.PHONY: clean
clean: ## remove everything that was made, .venv included
	rm -rf $(VENV) .cache .hypothesis .onex build dist
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
