# For a newcomer: `make demo`. For a contributor three lanes, each wider than the one before:
#   make check          lint, types and the fast tests: two minutes on 2 cores, at every change
#   make test           lint, types, the documentation and every test: what CI runs
#   make release-check  clean environments, kills, damage, load, many processes: before a release
# Each makes .venv when it is missing.
PYTHON ?= python3
WORKERS ?= 2
BIN := .venv/bin

.PHONY: demo check test release-check simd slow lint docs results clean

demo: .venv/.demo
	$(BIN)/trine demo

check: lint
	$(BIN)/python -m pytest -q -n $(WORKERS) --dist worksteal -m "not slow"

test: .venv/.test
	$(MAKE) --jobs --output-sync=target lint docs
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal

release-check: .venv/.test
	$(BIN)/python benchmarks/release_check.py

# The numeric tests with each choice of BLAS, torch and numba kernels, on one thread and on two
simd: .venv/.test
	$(BIN)/python tests/support/simd.py

# Measures again which tests `make check` leaves out
slow: .venv/.test
	$(BIN)/python -m pytest -n $(WORKERS) --dist worksteal --junitxml .venv/durations.xml
	$(BIN)/python tests/support/slow_tests.py .venv/durations.xml

lint: .venv/.test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: .venv/.test
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet --site-dir .venv/site

# Writes docs/results.md from the results that the benchmarks kept
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
