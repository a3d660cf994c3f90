# Two commands do everything: `make start` (ARGS="--preset smoke" passes options) and `make test`; `make docs` builds the site.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
ARGS ?=

.PHONY: start test docs slow faults bench clean

# Installed again whenever pyproject.toml changes; the stamp is written last, so a broken install is repeated.
$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info < (3, 15); sys.exit(not ok and "wmloop needs Python 3.11 to 3.14; this is %s (make PYTHON=python3.12 ...)" % sys.version.split()[0])'
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[video,report]'
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[video,report,test]'
	@touch $@

start: $(VENV)/.installed
	@$(BIN)/wmloop start $(ARGS)

test: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 2 --dist loadfile

# The site, in build/docs: a warning, a broken link or a missing anchor is an error.
$(VENV)/.installed-docs: $(VENV)/.installed
	$(BIN)/python -m pip install --quiet --disable-pip-version-check -e '.[video,report,docs]'
	@touch $@

docs: $(VENV)/.installed-docs
	$(BIN)/python -m tools.reference
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --builder html docs build/docs
	@echo "build/docs/index.html"

slow: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m slow

# The figures in docs/reliability.md, about an hour; `make test` runs a short form of each.
faults: $(VENV)/.installed-test
	$(BIN)/python -m pytest -m faults --durations=0

# Ratios of two things timed in one process; keep the machine idle.
bench: $(VENV)/.installed-test
	$(BIN)/python -m benchmarks

clean:
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache .hypothesis
