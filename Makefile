# `make start` and `make test` do everything; `make help` lists the rest.

PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --quiet --disable-pip-version-check
ARGS ?=
# For `make lowest` and `make newest`: what runs, and what is left at its newest version (a name or several).
CHECKS ?= test_api test_bundle test_carracing test_config test_models test_play test_ppo test_store test_tracking test_view
EXCEPT ?=

.PHONY: help start test docs slow faults distributed bench gpu lowest newest dist clean

help:  ## this list
	@awk -F ':.*## ' '/^[a-z ]+:.*## / { printf "make %-8s %s\n", $$1, $$2 }' Makefile
	@echo 'make start ARGS="--preset smoke --seed 0" passes options; ARGS="my-name --hours 1" names the run, too.'

# Installed again whenever pyproject.toml changes; the stamp is written last, so a broken install is repeated.
$(VENV)/.installed: pyproject.toml
	@$(PYTHON) -c 'import sys; ok = (3, 11) <= sys.version_info < (3, 15); sys.exit(not ok and "wmloop needs Python 3.11 to 3.14; this is %s (make PYTHON=python3.12 ...)" % sys.version.split()[0])'
	@test -d $(VENV) || $(PYTHON) -m venv $(VENV)
	$(PIP) -e '.[video,report]'
	@touch $@

$(VENV)/.installed-test: $(VENV)/.installed
	$(PIP) -e '.[all,test]'
	@touch $@

# The run has the name that ARGS begins with, else one made of its options, so that the same command again goes on with it.
# The shell waits while Ctrl-C is answered (trap); 130 is then what was wished for, not an error.
start: $(VENV)/.installed  ## train; the same command again goes on where it stopped
	@trap : INT; set -- $(ARGS); \
	case "$$1" in ''|-*) name=my-run$$(printf %s "$$*" | tr -cs 'A-Za-z0-9.' - | cut -c1-57) ;; *) name=$$1; shift ;; esac; \
	$(BIN)/wmloop start "$$name" --or-resume "$$@" || { code=$$?; test $$code = 130 || exit $$code; }

test: $(VENV)/.installed-test  ## ruff, mypy and the tests
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -n 4 --dist loadfile --no-loadscope-reorder

# The site, in build/docs: a warning, a broken link or a missing anchor is an error.
$(VENV)/.installed-docs: $(VENV)/.installed
	$(PIP) -e '.[video,report,docs]'
	@touch $@

docs: $(VENV)/.installed-test $(VENV)/.installed-docs  ## the documentation, in build/docs; its commands are run
	$(BIN)/python -m tools.reference
	$(BIN)/python -m sphinx --fail-on-warning --keep-going --quiet --builder html docs build/docs
	$(BIN)/python -m pytest -m docs -n 3 --dist load
	@echo "build/docs/index.html"

slow: $(VENV)/.installed-test  ## the tests that take minutes
	$(BIN)/python -m pytest -m slow

# The figures in docs/reliability.md; `make test` runs a short form of each.
faults: $(VENV)/.installed-test  ## the long forms of the tests of faults, about an hour
	$(BIN)/python -m pytest -m faults --durations=0

# Ray and submitit come into the environment of the tests, too; without them they are skipped.
distributed: $(VENV)/.installed-test  ## the tests that need several nodes or processes, such as Ray's and Slurm's
	$(PIP) -e '.[all,test,ray,slurm]'
	$(BIN)/python -m pytest -m distributed -n 3 --dist loadfile

# Ratios of two things timed in one process.
bench: $(VENV)/.installed-test  ## benchmarks; keep the machine idle
	$(BIN)/python -m benchmarks

# docs/performance.md says what comes out, and how without a network. ARGS="--only training --minutes 30" passes options.
gpu: $(VENV)/.installed  ## all that a GPU has to show, in 8 minutes; build/gpu/gpu.md
	$(BIN)/python -m benchmarks.gpu $(ARGS)

lowest:  ## some tests with the lowest versions that pyproject.toml allows (EXCEPT="torch torchrl" leaves these at the newest)
newest:  ## some tests with the newest versions that pyproject.toml allows
lowest newest:
	rm -rf build/$@ && mkdir -p build && $(PYTHON) -m venv build/$@
	$(if $(filter lowest,$@),$(PYTHON) tools/versions.py lowest --except $(EXCEPT),true) > build/$@.txt
	build/$@/bin/python -m pip install --quiet --disable-pip-version-check -c build/$@.txt -e '.[all,test]'
	build/$@/bin/python tools/versions.py installed
	build/$@/bin/python -m pytest -n 0 $(CHECKS:%=tests/%.py)

dist: $(VENV)/.installed-test  ## the wheel and the sdist, in dist/
	$(BIN)/python -m hatchling build

clean:  ## remove .venv and what tools have left; runs stay
	rm -rf $(VENV) build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
