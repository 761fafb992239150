# Two commands do all the set-up: make demo, make test. They need Python 3.11-3.13 and make.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin
export OMP_NUM_THREADS ?= 1

.PHONY: install demo test bench soak lint docs clean

$(BIN)/.ready: requirements.txt requirements.lock pyproject.toml
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(0 if (3, 11) <= v < (3, 14) else "DiffInf needs Python 3.11, 3.12 or 3.13; this is %d.%d. Use make PYTHON=python3.12." % v[:2])'
	@echo "Setting up $(VENV): this downloads PyTorch, about two minutes."
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements.txt -c requirements.lock
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
	@touch $@

$(BIN)/.ready-dev: $(BIN)/.ready requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

install: $(BIN)/.ready  ## the environment alone

demo: $(BIN)/.ready  ## everything on rendered faces, then the app on 127.0.0.1:7860
	$(BIN)/diffinf demo

test: $(BIN)/.ready-dev  ## every test, with a real browser
	$(BIN)/python tests/install_browser.py
	$(BIN)/python -m pytest -n 2 --dist loadfile

lint: $(BIN)/.ready-dev
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: $(BIN)/.ready  ## docs/api.md from the docstrings, the stages of docs/architecture.md
	$(BIN)/python docs/make_api.py
	$(BIN)/python docs/make_architecture.py

bench: $(BIN)/.ready-dev  ## ratios, written to tests/benchmarks/results
	$(BIN)/python -m tests.benchmarks.influence
	$(BIN)/python -m tests.benchmarks.api
	$(BIN)/python -m tests.benchmarks.repair
	$(BIN)/python -m tests.benchmarks.demo
	$(BIN)/python -m tests.benchmarks.refined
	$(BIN)/python -m tests.benchmarks.house
	$(BIN)/python -m tests.benchmarks.scale
	$(BIN)/python tests/install_browser.py
	$(BIN)/python -m tests.benchmarks.review
	$(BIN)/python -m tests.benchmarks.explore

soak: $(BIN)/.ready-dev  ## kills, full disks, floods: about fifteen minutes; docs/reliability.md
	$(BIN)/python -m tests.benchmarks.soak

clean:
	rm -rf $(VENV) build dist .mypy_cache .ruff_cache
