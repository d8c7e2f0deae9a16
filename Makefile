# Each target makes the virtual environment .venv ready (scripts/setup_environment.py) and does nothing twice.
# A Python other than the first suitable one: rm -r .venv, then make PYTHON=python3.12 demo

SUITABLE = import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))
PYTHON ?= $(shell for one in python3 python3.13 python3.12 python3.11; do \
	$$one -c '$(SUITABLE)' 2>/dev/null && echo $$one && break; done)
BIN = .venv/bin

# Tests share the cores, one process each: threads that spin would cost more than they bring. The demo has them to itself.
export OMP_NUM_THREADS ?= 1
demo: export OMP_NUM_THREADS = 2

.PHONY: help demo lint check test python

help:
	@echo "make demo    train the tiny model through the three stages on embedded data; report in out/demo"
	@echo "make lint    linter, formatter and strict types"
	@echo "make check   the same and the quick tests"
	@echo "make test    every test, those that train, serve or start processes included"

demo: python
	@$(PYTHON) scripts/setup_environment.py train
	$(BIN)/emocaliber run recipes/tiny --out out/demo

lint: python
	@$(PYTHON) scripts/setup_environment.py test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

check: lint
	$(BIN)/pytest -m "not slow"

# A test that waits for ever is named after ten minutes (pyproject.toml), and ends its process; the other goes on.
test: python
	@$(PYTHON) scripts/setup_environment.py test
	$(BIN)/pytest --numprocesses auto --dist loadfile --max-worker-restart 0

python:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed: make PYTHON=/path/to/python3.12 demo"; exit 1; }
