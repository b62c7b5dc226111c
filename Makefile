# Everything runs from .venv: `make run` and `make test` with what requirements/test.txt holds, the
# deep run and the manual with requirements/deep.txt on top.

# The first Python on the machine that is supported and can make an environment. One that is
# itself an environment is passed over: it might be the very .venv about to be made.
PYTHON ?= $(shell for python in python3 python3.14 python3.13 python3.12 python3.11 \
	"$${PYENV_ROOT:-$$HOME/.pyenv}"/versions/*/bin/python3; do \
	"$$python" -c 'import sys, venv, ensurepip; sys.exit(sys.prefix != sys.base_prefix \
	or not (3, 11) <= sys.version_info < (3, 15))' 2>/dev/null && echo "$$python" && break; done)

BIN := .venv/bin
TEST := .venv/made-from-test
DEEP := .venv/made-from-deep
ON := $(BIN)/python -m tools.on

# Two processes, unless steps run side by side already (tools/steps.py).
XDIST ?= -n2

UNIT := tests/unit tests/jobs tests/observers

# What needs a server, and the tests that reach every line and branch of it.
ELSEWHERE := */leasedkeyq/engine/*,*/leasedkeyq/redis/*
CLIENT := $(wildcard tests/engine/test_client*.py)

# The longest first.
STEPS := conformance engine stateful unit unit-others compiled manual spec wheel types vendored lint
# Each of the others is part of one of these, most of them of `everywhere`.
DEEP_STEPS := deep-spec mutants deep-tests everywhere deep-stateful crosshair spec-mutants \
	engine wheel unit manual site deep-types lint

# Paths as they were given: make would expand a dollar in them, here or on the way to a recipe.
unexport DIR DEST
export GIVEN_DIR := $(value DIR)
export GIVEN_DEST := $(value DEST)

.DEFAULT_GOAL := help
.PHONY: help run test deep bench docs format lint types unit unit-others compiled vendored wheel \
	stateful machines schedules conformance engine spec manual deep-types deep-tests deep-stateful site \
	deep-spec spec-mutants mutants crosshair everywhere vendor lock clean

help:  # show this list
	@"$(PYTHON)" -c 'import re; text = open("Makefile").read(); \
		show = lambda mark: [print("  make %-13s %s" % target) for target in \
		re.findall(r"^([\w-]+):[^#\n]*  " + mark + " (.*)", text, re.M)]; \
		show("##"); print("\nsingle steps, and what makes them"); show("#")'

run: $(TEST)  ## index a tree with workers that fail on purpose (DIR=folder, ENGINE=redis)
	@$(BIN)/python -m examples.index_tree$${ENGINE:+_$$ENGINE} $${GIVEN_DIR:+-- "$$GIVEN_DIR"}

test: $(TEST)  ## check what matters, in four minutes
	@$(BIN)/python -m tools.steps $(STEPS)

deep: $(DEEP)  ## check it all, for a night, but for what has passed unchanged (FRESH=1: all)
	@CI=true $(BIN)/python -m tools.steps --record docs/assurance/deep.toml $(FRESH:%=--fresh) \
		$(or $(STEP),$(DEEP_STEPS) --alone bench)

format: $(TEST)  # put right what lint can put right
	@$(BIN)/ruff check --fix
	@$(BIN)/ruff format

unit: $(TEST)  ## the unit tests, on the newest Python: every line and branch of the package
	@$(ON) newest -- coverage run --data-file=.venv/unit.coverage -m pytest $(UNIT) -q
	@$(BIN)/coverage report --data-file=.venv/unit.coverage --omit='$(ELSEWHERE)'

stateful: $(TEST)  ## random steps and every schedule against a model, and a sample of planted bugs
	@$(BIN)/pytest tests/stateful -q $(XDIST)

conformance: $(TEST)  ## every transition of the specification on the machine, and traces of it
	@$(BIN)/pytest tests/conformance -q $(XDIST) --dist loadgroup

engine: $(TEST)  ## the queue on Redis or Valkey: a real server, real processes, faults of all kinds
	@$(BIN)/coverage run --data-file=.venv/engine.coverage -m pytest $(CLIENT) -q
	@$(BIN)/coverage report --data-file=.venv/engine.coverage --include='$(ELSEWHERE)'
	@$(BIN)/pytest tests/engine $(CLIENT:%=--ignore=%) -q $(XDIST) --dist loadfile

spec: $(TEST)  ## check the TLA+ specification (what did not change is not checked again)
	@$(BIN)/python -m spec.tlc

bench: $(TEST)  ## measure both builds on every Python, next to asyncio.Queue
	@$(BIN)/python -m benchmarks

docs: $(DEEP)  ## build the manual into docs/_build
	@$(BIN)/sphinx-build --fail-on-warning --keep-going --nitpicky --quiet docs docs/_build

# -- the other steps of `make test` --------------------------------------------------------------

lint: $(TEST)  # style and likely mistakes
	@$(BIN)/ruff check
	@$(BIN)/ruff format --check

types: $(TEST)  # mypy --strict, but for what needs the packages of the deep run
	@$(BIN)/mypy --exclude 'docs/_ext/directives'

# uvloop, which doubles the tests of jobs, and observers on the newest Python and in the deep run alone.
unit-others: $(TEST)  # the unit tests on the other Pythons of the machine
	@$(ON) others -- pytest tests/unit tests/jobs -k 'not uvloop' -q $(XDIST)

compiled: $(TEST)  # the unit tests on extension modules, on the newest Python
	@$(ON) --build checked newest -- pytest $(UNIT) tests/build/test_import.py -k 'not uvloop' \
		-q $(XDIST)

vendored: $(TEST)  # a sample of the tests on a copy under another name, the original absent
	@$(ON) --build vendored newest -- pytest tests/unit/test_queue.py tests/unit/test_leases.py \
		tests/unit/test_typing.py tests/engine/test_idle.py -q $(XDIST)

wheel: $(TEST)  # what would be released, held against the tree, installed elsewhere and used
	@$(BIN)/pytest tests/build -q

manual: $(TEST)  # the code in the manual, the examples, the tracing of the rules, the benchmark's tests
	@$(BIN)/pytest tests/docs tests/examples tests/benchmarks tests/spec -q $(XDIST) --dist loadfile

# -- parts of them, for while you work -------------------------------------------------------------

machines: $(TEST)  # the state machines alone
	@$(BIN)/pytest tests/stateful/test_mirrors.py -q $(XDIST)

schedules: $(TEST)  # every order in which a few tasks can run, cancelled at every point
	@$(BIN)/pytest tests/stateful/test_schedules.py -q $(XDIST)

# -- steps of `make deep` --------------------------------------------------------------------------

deep-types: $(DEEP)  # mypy --strict over everything
	@$(BIN)/mypy

deep-tests: $(DEEP)  # the tests that take long: all planted bugs, full replay through the shell
	@$(BIN)/pytest tests -m deep --ignore=tests/crosshair -q --timeout=0 $(XDIST) --dist loadgroup

deep-stateful: $(DEEP)  # a million steps of the machines (SEED=1)
	@HYPOTHESIS_PROFILE=deep $(BIN)/pytest tests/stateful/test_mirrors.py -q \
		--timeout=0 --hypothesis-seed=$(or $(SEED),1) $(XDIST)

deep-spec: $(DEEP)  # the larger models, too; those that did not change only with FRESH=1
	@CI= $(BIN)/python -m spec.tlc --deep $(FRESH:%=--fresh)

spec-mutants: $(DEEP)  # does the specification notice when a rule of it is changed?
	@$(BIN)/python -m spec.mutants

KEEP := 600
mutants: $(DEEP)  # do the tests notice when the code is changed? (KEEP=600 drawn changes, SEED=, AGAIN=1)
	@$(BIN)/python -m tests.mutation --keep $(KEEP) $(SEED:%=--seed %) $(AGAIN:%=--again)

site: $(DEEP)  # build the manual: complete, no dead link, nothing from elsewhere
	@$(BIN)/pytest tests/docs/site.py -q

crosshair: $(DEEP)  # contracts, confirmed over all paths
	@$(BIN)/pytest tests/crosshair -m deep -q $(XDIST)

# The specification is the same for all: what TLC found of it need not be found a dozen times.
everywhere: $(DEEP)  # the tests on both builds and every Python, and on a vendored copy
	@export CI= && for build in pure checked compiled; do \
		$(ON) --build $$build all -- pytest $(UNIT) tests/build/test_import.py tests/stateful \
			tests/conformance -q $(XDIST) || exit; done && \
	$(ON) --build vendored newest -- pytest $(UNIT) tests/engine/test_idle.py tests/stateful -q \
		$(XDIST)

# -- the rest ----------------------------------------------------------------------------------------

vendor:  # copy the package into a tree, with a manifest (DEST=path/of/the/package)
	@"$(PYTHON)" vendor.py copy -- "$${GIVEN_DEST:?DEST is the directory of the copy to be}"

# deep.txt leaves out what test.txt has: the two are installed together.
lock: $(TEST)  # write requirements/*.txt from *.in, keeping pins (UPGRADE=--upgrade: newest)
	@cd requirements && export UV_CUSTOM_COMPILE_COMMAND='make lock' && \
	compile="../$(BIN)/uv pip compile --quiet --universal --generate-hashes --no-annotate \
		--python-version 3.11 $(UPGRADE)" && \
	$$compile test.in -o test.txt && \
	$$compile deep.in -o deep.txt $$(sed -n 's/^\([a-z0-9-]*\)==.*/--no-emit-package \1/p' test.txt)

clean:  # remove whatever is not source
	rm -rf .venv .mypy_cache .pytest_cache .ruff_cache .hypothesis .coverage* dist docs/_build

# pip fetches uv, and uv the rest: in a third of the time.
$(TEST): requirements/test.txt
	@test -n "$(PYTHON)" || { echo "No Python 3.11 to 3.14 with venv and ensurepip was found." \
		"Install one, or name it: make PYTHON=/path/to/python3" >&2; exit 1; }
	@echo "making .venv with $(PYTHON) (a few seconds, once)"
	@test -x $(BIN)/pip || "$(PYTHON)" -m venv --clear .venv
	@awk '/^[a-z]/ {on = /^uv==/} on' requirements/test.txt > .venv/uv.txt
	@$(BIN)/pip install -qq --no-compile --require-hashes -r .venv/uv.txt
	@$(BIN)/uv pip install -q --python .venv --require-hashes -r requirements/test.txt
	@LEASEDKEYQ_EXTENSIONS= LEASEDKEYQ_NO_EXTENSIONS=1 \
		$(BIN)/uv pip install -q --python .venv --no-build-isolation --no-deps -e .
	@touch $@

$(DEEP): $(TEST) requirements/deep.txt
	@echo "adding what the deep run and the manual need (half a minute, once)"
	@$(BIN)/uv pip install -q --python .venv --require-hashes \
		-r requirements/test.txt -r requirements/deep.txt
	@touch $@
