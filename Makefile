# `make demo` and `make test` need nothing but Python >= 3.11 with venv: they build .venv first.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help .venv demo test test-fast coverage lint audit bench clean

help: ## this list
	@grep -E '^[.a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

.venv: $(READY) ## the environment, with exactly the versions of constraints.txt

# The stamp is written last, so an interrupted installation starts anew.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than 3.11; name another: make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	@touch $@

demo: $(READY) ## both tasks on synthetic data: draw, fit, predict (a few minutes)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh demo.sh

test: $(READY) ## all tests
	$(BIN)/python -m pytest

test-fast: $(READY) ## the tests without the mark `slow`
	$(BIN)/python -m pytest -m "not slow"

coverage: $(READY) ## all tests, and the lines of growth, julia and common that no test runs
	$(BIN)/python -m pytest --cov --cov-report=term

lint: $(READY) ## ruff, mypy and deptry
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/deptry .
	@# What the packages import must not be among the dependencies for development.
	$(BIN)/deptry growth julia common --optional-dependencies-dev-groups dev

# pip-audit brings a dozen libraries that no test needs. It should be up to date, so only what it shares is pinned.
# --strict: a library that the service does not know, or a service that does not answer, is a failure.
audit: $(READY) ## known vulnerabilities in the versions of constraints.txt, as pypi.org lists them (needs the network)
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt pip-audit
	$(BIN)/pip-audit --strict --disable-pip --no-deps -r constraints.txt

bench: $(READY) ## a table: preparing, fit, predict and start beside their baselines (ten minutes)
	$(BIN)/python -W ignore -m benchmarks

clean: ## remove the folders that fits and the demo have made: cache, runs, demo
	rm -rf cache runs demo
