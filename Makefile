# The targets make .venv when it is not there. They need Python 3.10 or newer, git and make.

BIN := .venv/bin
INSTALLED := .venv/.installed
MANIFESTS := requirements-dev.txt pyproject.toml $(wildcard plugins/*/pyproject.toml)
PACKAGES := zoo zoo_core zoo_cli $(notdir $(patsubst %/__init__.py,%,$(wildcard plugins/*/zoo_*/__init__.py)))
ARGS ?=

.DEFAULT_GOAL := help
.PHONY: help demo test check docs clean

help:
	@echo "make demo    train, measure and use a small detector on drawn pictures (minutes)"
	@echo "make test    run all tests; some of them:  make test ARGS='-k voc'"
	@echo "make check   lint, formatting and types"
	@echo "make docs    write the generated pages of docs/, and say when they were stale"
	@echo "make clean   remove the environment and whatever was made here"

$(INSTALLED): $(MANIFESTS)
	@PYTHON="$(PYTHON)" .ci/environment
	@touch $@

demo: $(INSTALLED)
	@.ci/demo

test: $(INSTALLED)
	$(BIN)/python -m pytest $(ARGS)

check: $(INSTALLED)
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy $(addprefix -p ,$(PACKAGES))
	$(BIN)/mypy $(wildcard examples/*/zoo_*)

docs: $(INSTALLED)
	$(BIN)/python docs/generate.py

clean:
	rm -rf .venv demo build dist .mypy_cache .ruff_cache .pytest_cache
