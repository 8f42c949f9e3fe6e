# Every target makes its own virtual environment when it is not there, or older than pyproject.toml.
# PYTHON is the interpreter it is made with, ARGS go to the broker or to pytest.

PYTHON ?= python3
VENV ?= .venv
ARGS ?=

bin := $(VENV)/bin
installed := $(VENV)/.installed

.PHONY: help run test check bench clean

help:
	@echo 'make run    start the broker      (ARGS="--port 7451")'
	@echo 'make test   run the tests         (ARGS="-k migrate")'
	@echo 'make check  lint, format, types'
	@echo 'make bench  measure, print tables'
	@echo 'make clean  remove the virtual environment and caches'

run: $(installed)
	@exec $(bin)/postroom serve $(ARGS)

test: $(installed)
	$(bin)/python -m pytest -n auto $(ARGS)

check: $(installed)
	$(bin)/ruff check .
	$(bin)/ruff format --check .
	$(bin)/mypy

bench: $(installed)
	$(bin)/python -m bench $(if $(ARGS),$(ARGS),report)

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis

$(installed): pyproject.toml
	@$(PYTHON) -c 'import sys; sys.exit(None if sys.version_info >= (3, 11) else "Postroom needs Python 3.11 or newer: make PYTHON=python3.11 (or newer) ...")'
	@test -x $(bin)/python || $(PYTHON) -m venv $(VENV)
	$(bin)/python -m pip install --quiet --disable-pip-version-check --editable '.[dev]'
	@touch $@
