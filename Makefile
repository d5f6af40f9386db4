# Two commands for a fresh machine with Python 3.11+, git and make: `make demo` and `make test`.

PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

.PHONY: help demo test test-standins test-clis test-executors check schemas plugin requirements picture bench soak clean

help:
	@echo "make demo     install into $(VENV) and run the real Codex against the rehearsal model"
	@echo "make test     install what the tests need and run all of them"
	@echo "make test-standins  test the programs of the tests that stand for an agent CLI"
	@echo "make test-clis      install Claude Code, Gemini CLI and a newer Codex from npm into .clis and test with them (needs Node)"
	@echo "make test-executors  test with a real Slurm and a real sshd (needs root and Debian's slurm-wlm, munge, openssh-server)"
	@echo "make check    format, lint, type-check strictly, then test"
	@echo "make bench    print the budgets, measured side by side in one run"
	@echo "make soak     try faults in real runs for SECONDS=300, from SEED=1 on, or one FAULT=NAME"
	@echo "make schemas  generate schemas/ again"
	@echo "make plugin   generate what names a command in plugins/ again"
	@echo "make requirements  lock what the action for GitHub installs again"
	@echo "make picture  record the picture of the README again"

# The stamps say which extras the virtual environment has. compileall, because a start must not compile us
# again where PYTHONDONTWRITEBYTECODE is set. A new pip, because the `runner` that an old one writes imports `re`,
# which takes half of the time of an empty interpreter.
$(VENV)/.%.stamp: pyproject.toml
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet --editable '.[$*]'
	$(BIN)/python -m compileall -q runner
	@touch $@

demo: $(VENV)/.codex.stamp
	@$(BIN)/runner start --task hello --wait

# Unit tests compute: two for each core, since they wait for the disk too. Tests with processes mostly wait for these.
CORES := $(shell nproc)
PYTEST = $(BIN)/python -m pytest -q --dist worksteal
TESTS = failed=0; \
	$(PYTEST) -n $$((2 * $(CORES))) tests/unit || failed=1; \
	$(PYTEST) -n $$((3 * $(CORES))) tests/process tests/codex || failed=1; \
	exit $$failed

test: $(VENV)/.test.stamp
	$(TESTS)

# What the product is tested against, and not the product: of interest to whoever changes a stand-in.
test-standins: $(VENV)/.test.stamp
	$(PYTEST) -n $$((2 * $(CORES))) tests/standins

# Agent CLIs from npm: nothing else here needs Node. Of their install scripts only the one runs that puts Claude's
# binary in its place.
# npm runs in the folder: with `--prefix` it looks for its settings of the machine (a registry, its certificates)
# below that prefix, https://docs.npmjs.com/cli/v11/configuring-npm/npmrc.
.clis/.stamp: tests/clis/package.json
	@command -v npm > /dev/null && command -v node > /dev/null || { echo "make test-clis needs npm and Node 20 or newer" >&2; exit 1; }
	mkdir -p .clis
	cp tests/clis/package.json .clis/
	cd .clis && npm install --no-package-lock --no-audit --no-fund --ignore-scripts --loglevel=error
	cd .clis/node_modules/@anthropic-ai/claude-code && node install.cjs
	@touch $@

# What differs between this Codex and that of the PyPI package, and the launcher of the npm package.
NEWER := $(addprefix tests/codex/test_,codex_hooks.py codex_limits.py codex_waking.py conversation.py delegation_example.py)

test-clis: $(VENV)/.test.stamp .clis/.stamp
	@command -v bwrap > /dev/null && command -v socat > /dev/null || { echo "make test-clis needs bwrap and socat" >&2; exit 1; }
	$(PYTEST) -n $$((2 * $(CORES))) tests/clis
	TEST_CODEX=$(CURDIR)/.clis/node_modules/.bin/codex $(PYTEST) -n $$((2 * $(CORES))) $(NEWER)

# Each worker has clusters of its own.
test-executors: $(VENV)/.test.stamp
	$(PYTEST) -n $$((2 * $(CORES))) tests/slurm

check: $(VENV)/.dev.stamp
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .
	$(BIN)/mypy
	$(TESTS)

schemas: $(VENV)/.codex.stamp
	$(BIN)/python -m runner.config.generate

plugin: $(VENV)/.codex.stamp
	$(BIN)/python -c 'from runner.hosts import plugin; plugin.commit("plugins/runner")'

# What the action installs, with what it builds us with: by hashes, for every Python and machine.
requirements: $(VENV)/.codex.stamp
	$(BIN)/python -m pip install --quiet uv
	$(BIN)/python -c 'import tomllib; print(*tomllib.load(open("pyproject.toml", "rb"))["build-system"]["requires"])' | \
	$(BIN)/uv pip compile pyproject.toml - --extra codex --extra ci --universal --python-version 3.11 --upgrade \
	--generate-hashes --no-header --no-annotate --no-config --no-emit-index-url --quiet -o action/requirements.txt

picture: $(VENV)/.codex.stamp
	$(BIN)/python docs/picture/record.py

bench: $(VENV)/.test.stamp
	$(BIN)/python benchmarks/run.py

SECONDS ?= 300
SEED ?= 1
soak: $(VENV)/.test.stamp
	$(BIN)/python tests/soak/campaign.py --seconds $(SECONDS) --seed $(SEED) $(if $(FAULT),--fault $(FAULT))

clean:
	rm -rf $(VENV) .clis .mypy_cache .ruff_cache .pytest_cache .hypothesis
