# Everything runs from .venv, which is made from requirements/dev.txt and nothing else.

# The first Python on the machine that is supported and can make an environment. One that is
# itself an environment is passed over: it might be the very .venv about to be made.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 \
	"$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/*/bin/python3; do \
	"$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.prefix != sys.base_prefix \
	or not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && echo "$$python" && break; done)

BIN := .venv/bin
VENV := .venv/.made-from-lock

# What `make test` runs, in this order, up to the first that fails.
STEPS := lint types unit coverage vendored stateful engine crosshair spec spec-mutants-sample \
	conformance manual

.DEFAULT_GOAL := help
.PHONY: help run test lint format types unit coverage vendored vendor pin-costs manual \
	seal stateful engine schedules crosshair spec spec-deep \
	spec-mutants spec-mutants-sample \
	conformance bench ablation mutants docs release-check lock clean

help:  ## show this list
	@$(PYTHON) -c 'import re; [print("make %-13s %s" % target) for target in \
		re.findall(r"^([\w-]+):.*?## (.*)", open("Makefile").read(), re.M)]'

run: $(VENV)  ## index a tree of files with workers that fail on purpose (DIR=folder)
	@$(BIN)/python examples/index_tree.py $(DIR)

test: $(VENV)  ## check everything, then say how long each step took
	@status=0; table=; \
	for step in $(STEPS); do \
		echo; echo "== $$step"; started=$$(date +%s); \
		$(MAKE) --no-print-directory $$step || status=$$?; \
		row=$$(printf '%-12s %5d s  %s' $$step $$(($$(date +%s) - started)) \
			$$(test $$status = 0 && echo ok || echo FAILED)); \
		table="$$table$$row\n"; test $$status = 0 || break; \
	done; \
	printf "\n$$table"; exit $$status

lint: $(VENV)  ## style and likely mistakes
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

format: $(VENV)  ## put right what lint can put right
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

types: $(VENV)  ## mypy --strict over everything
	@$(BIN)/mypy

unit: $(VENV)  ## unit tests of the built wheel on every Python found (3.11 to 3.14)
	@$(BIN)/nox -s unit

coverage: $(VENV)  ## every line and branch of the package, by the unit tests alone
	@$(BIN)/nox -s coverage

pin-costs: $(VENV)  ## count anew what every operation costs, on every Python found
	@$(BIN)/nox -s pin

vendored: $(VENV)  ## the tests of a copy under another name, the original absent
	@$(BIN)/nox -s vendored

vendor:  ## copy the package into a tree, with a manifest (DEST=path/of/the/package)
	@$(PYTHON) vendor.py copy $(DEST)

manual: $(VENV)  ## run what the manual shows, the examples, and the tracing of every rule
	@$(BIN)/pytest tests/docs tests/examples tests/benchmarks -q -n 2 --dist loadfile

seal: $(VENV)  ## say that every rule was read again after a change of what holds it
	@$(BIN)/python -m docs._ext.seals

stateful: $(VENV)  ## random steps and every schedule against a model, and planted bugs
	@$(BIN)/pytest tests/stateful -n 2

engine: $(VENV)  ## is another engine with the same API held to the same?
	@LEASEDKEYQ_UNDER_TEST=tests.model.engine $(BIN)/pytest tests/stateful -q -n 2

stateful-coverage: $(VENV)  ## every line and branch of the core, by the machines alone
	@COVERAGE_FILE=.coverage.machines HYPOTHESIS_PROFILE=ci $(BIN)/coverage run \
		-m pytest tests/stateful/test_parts.py tests/stateful/test_queue.py -q
	@COVERAGE_FILE=.coverage.machines $(BIN)/coverage report \
		--include='*/_core.py,*/_key.py,*/_call.py,*/_deadlines.py,*/_linkedlist.py'

stateful-deep: $(VENV)  ## a million steps of the machines (SEED=1), and their record
	@HYPOTHESIS_PROFILE=deep $(BIN)/pytest tests/stateful/test_parts.py \
		tests/stateful/test_queue.py -q --timeout=0 --hypothesis-seed=$(or $(SEED),1)

transitions: $(VENV)  ## do random steps meet 95% of the transitions of the specification?
	@$(BIN)/python -m tests.stateful.transitions

schedules: $(VENV)  ## every order in which a few tasks can run, cancelled at every point
	@$(BIN)/pytest tests/stateful/test_schedules.py -n 2

crosshair: $(VENV)  ## contracts, confirmed over all paths
	@$(BIN)/pytest tests/crosshair -n 2

spec: $(VENV)  ## check the TLA+ specification
	@$(BIN)/python -m spec.tlc

spec-deep: $(VENV)  ## check it in larger models (many minutes)
	@$(BIN)/python -m spec.tlc --deep

spec-mutants: $(VENV)  ## does the specification notice when a rule of it is changed?
	@$(BIN)/python -m spec.mutants

spec-mutants-sample: $(VENV)  ## twenty of them, each with the property that must see it
	@$(BIN)/python -m spec.mutants --sample

conformance: $(VENV)  ## carry out every transition of the specification
	@$(BIN)/pytest tests/conformance -q -n 2 --dist loadgroup

bench: $(VENV)  ## measure, next to asyncio.Queue
	@$(BIN)/python -m benchmarks

ablation: $(VENV)  ## where the time goes, and what single promises cost
	@$(BIN)/python -m benchmarks.ablation

mutants: $(VENV)  ## do the tests notice when the code is changed?
	@$(BIN)/python -m tests.mutation

docs: $(VENV)  ## build the manual into docs/_build
	@$(BIN)/sphinx-build --fail-on-warning --keep-going --nitpicky --quiet docs docs/_build

release-check: $(VENV)  ## build, install elsewhere and use what would be released
	@$(BIN)/nox -s release

lock: $(VENV)  ## write requirements/*.txt from *.in, keeping pins (UPGRADE=--upgrade: newest)
	@cd requirements && for lock in test dev; do \
		UV_CUSTOM_COMPILE_COMMAND='make lock' ../$(BIN)/uv pip compile --quiet $(UPGRADE) \
		--universal --generate-hashes --python-version 3.11 $$lock.in -o $$lock.txt || exit; \
	done

clean:  ## remove whatever is not source
	rm -rf .venv .nox .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage* dist mutants \
		docs/_build

# Byte-compiling hundreds of packages would take longer than installing them (--no-compile).
$(VENV): requirements/dev.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11 to 3.14 with venv and ensurepip was found." \
		"Install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "making .venv with $(PYTHON) (about a minute, once)"
	@"$(PYTHON)" -m venv --clear .venv
	@$(BIN)/pip install -qq --no-compile --require-hashes -r requirements/dev.txt
	@$(BIN)/pip install -qq --no-build-isolation --no-deps -e .
	@touch $@
