# Two commands for a newcomer: `make demo` and `make test`. Both make .venv when it is missing.
PYTHON ?= python3
BIN := .venv/bin

.PHONY: demo test simd lint docs results clean

demo: .venv/.demo
	$(BIN)/trine demo

test: .venv/.test lint docs
	$(BIN)/python -m pytest -n 2

# The numeric tests with each choice of BLAS, torch and numba kernels, on one thread and on two
simd: .venv/.test
	$(BIN)/python tests/support/simd.py

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/.test
	$(BIN)/mkdocs build --strict --quiet --site-dir .venv/site

# docs/results.md of the figures that the benchmarks have kept
results: .venv/.test
	$(BIN)/python benchmarks/results_page.py

clean:
	rm -rf .venv runs

.venv/bin/pip:
	$(PYTHON) -m venv .venv

.venv/.demo: pyproject.toml constraints.txt | .venv/bin/pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[images,train,gallery]'
	touch $@

.venv/.test: pyproject.toml constraints.txt | .venv/bin/pip
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[all,dev]'
	touch $@ .venv/.demo
