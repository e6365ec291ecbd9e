# ONEX. Everything is done by make.py, which any Python can start; where there is no `make`, call it: python3 make.py TARGET.

.DEFAULT_GOAL := help
SHELL := bash

ARGS ?=
LOCK_ARGS ?=
TARGETS := setup check format page test test-long demo bench peers docs wheel lock clean
TAKE_ARGS := test test-long demo bench peers

# A name on the PATH may be a shim that starts nothing, so each candidate is asked.
define START
@for python in .venv/bin/python $${PYTHON:-} python3 python3.13 python3.12 python3.11 python3.14; do \
	if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 8))' 2>/dev/null; then exec "$$python" make.py $(1); fi; \
done; \
echo "make $(firstword $(1)): no Python found. Install Python >= 3.11 (on Debian: apt-get install python3 python3-venv)" >&2; exit 3
endef

.PHONY: help $(TARGETS)
help: ## list the targets
	$(call START,help)

$(TARGETS):
	$(call START,$@ $(if $(filter lock,$@),$(LOCK_ARGS),$(if $(filter $(TAKE_ARGS),$@),$(ARGS))))
