# `make demo` and `make test` need nothing but Python >= 3.11 with venv: they build .venv first.
PYTHON ?= python3
BIN := .venv/bin
READY := .venv/.ready

.PHONY: help .venv lock demo test test-fast coverage lint audit sbom bench docs clean

help: ## this list
	@grep -E '^[.a-z-]+:.*##' Makefile | sed -E 's/:.*## /\t/' | expand -t 12

.venv: $(READY) ## the environment, with exactly the versions and hashes in constraints.txt

# The stamp is written last, so that an interrupted installation starts over.
$(READY): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || \
		{ echo "error: $(PYTHON) is older than 3.11; name another: make PYTHON=python3.12" >&2; exit 2; }
	$(PYTHON) -m venv --clear .venv
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints.txt
	@# Built with the setuptools just installed, so that nothing else is fetched. It warns about folders named like packages.
	PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

# Does not depend on $(READY) if uv is there: a changed pyproject.toml would first reinstall the old versions.
lock: $(if $(wildcard $(BIN)/uv),,$(READY)) ## regenerate constraints*.txt from pyproject.toml; LOCK=--upgrade also upgrades versions
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --all-extras --generate-hashes \
		--no-strip-extras --no-annotate --custom-compile-command 'make lock' --output-file constraints.txt $(LOCK) pyproject.toml
	$(BIN)/uv pip compile --quiet --universal --python-version 3.11 --group docs --generate-hashes \
		--no-strip-extras --no-annotate --custom-compile-command 'make lock' --output-file constraints-docs.txt $(LOCK)

demo: $(READY) ## both tasks on synthetic data: draw, fit, predict (a few minutes)
	@PATH="$(CURDIR)/$(BIN):$$PATH" sh demo.sh

test: $(READY) ## all tests
	$(BIN)/python -m pytest

test-fast: $(READY) ## the tests not marked `slow`
	$(BIN)/python -m pytest -m "not slow"

coverage: $(READY) ## all tests, and the lines of growth, julia and common that no test runs
	$(BIN)/python -m pytest --cov --cov-report=term

lint: $(READY) ## ruff, mypy and deptry
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/deptry .
	@# The packages must not import development dependencies.
	$(BIN)/deptry growth julia common --optional-dependencies-dev-groups dev

# --strict: fail if the service does not know a library or does not answer.
audit: $(READY) ## known vulnerabilities in the versions of constraints.txt, as pypi.org lists them (needs the network)
	$(BIN)/pip-audit --strict --disable-pip --require-hashes -r constraints.txt

sbom: $(READY) ## sbom.json: the bill of materials of the environment (CycloneDX)
	$(BIN)/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-file sbom.json $(BIN)/python

bench: $(READY) ## a table: preparing, fit, predict and start beside their baselines (ten minutes)
	$(BIN)/python -W ignore -m benchmarks

# A separate environment, which needs no torch: docstrings are read, not imported.
.venv-docs/.ready: constraints-docs.txt
	$(PYTHON) -m venv --clear .venv-docs
	.venv-docs/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r constraints-docs.txt
	@touch $@

docs: .venv-docs/.ready ## site/: README, docs and the API from the docstrings as pages that open offline
	NO_MKDOCS_2_WARNING=1 .venv-docs/bin/mkdocs build --quiet
	@echo "site/index.html"

clean: ## remove the folders made by fits and the demo: cache, runs, demo
	rm -rf cache runs demo
