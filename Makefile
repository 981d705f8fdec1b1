# Two commands: `make demo` runs the main job, `make test` runs everything that is checked.
# Both make their own virtual environment in .venv; set PYTHON to use another interpreter.
PYTHON ?= python3
VENV ?= .venv
BIN := $(VENV)/bin

# As pip does for what it installs, and not in each process that imports the library: where
# PYTHONDONTWRITEBYTECODE is set, none of these keeps what it has compiled.
COMPILE = $(BIN)/python -m compileall -q src

.PHONY: demo search test bench autoscale stress kills models load explorations mutants differential clean
.PHONY: check check-ruff check-mypy check-pyright check-complete check-tests

demo: $(VENV)/.installed-demo
	$(BIN)/moorage run examples/stdlib_index.py

# A search server with batches: what it finds, and how fast.  It makes its model the first time.
search: $(VENV)/.installed-search
	$(BIN)/python -m examples.search

# Two of the checks run beside each other.  Tests wait as long as they compute: three processes keep
# two processors busy.  Files start in the order of their names: ordered by how many tests they
# have, those with few and long tests would come last, and the last one alone.  A test that hangs
# ends its process with all stacks, and that ends the run: pytest-xdist 3.8 would give what the dead
# process had done to the others once more, as files with no tests, and wait for ever for their end.
test: $(VENV)/.installed-test
	$(MAKE) --jobs 2 --no-print-directory check
	$(COMPILE)
	$(BIN)/python -m pytest --numprocesses $(WORKERS) --dist loadfile --no-loadscope-reorder \
		--max-worker-restart 0

WORKERS ?= $(shell $(BIN)/python -c "import os; print(os.cpu_count() * 3 // 2)")

check: check-pyright check-mypy check-complete check-tests check-ruff

check-ruff: $(VENV)/.installed-test
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

check-mypy: $(VENV)/.installed-test
	$(BIN)/mypy

check-pyright: $(VENV)/.installed-test
	$(BIN)/basedpyright --pythonpath $(BIN)/python

check-complete: $(VENV)/.installed-test
	PATH="$(abspath $(BIN)):$$PATH" $(BIN)/basedpyright --verifytypes moorage --ignoreexternal \
		> $(VENV)/completeness.txt || { cat $(VENV)/completeness.txt; exit 1; }

# All tests are found.  What pytest compiles, tests and its plugins, is kept, also where
# PYTHONDONTWRITEBYTECODE is set: each process of pytest would compile it anew, also those that
# tests start.
check-tests: $(VENV)/.installed-test
	PYTHONDONTWRITEBYTECODE= $(BIN)/python -m pytest --collect-only -qq > $(VENV)/tests.txt \
		|| { cat $(VENV)/tests.txt; exit 1; }

bench: $(VENV)/.installed-bench
	$(COMPILE)
	$(BIN)/python -m benchmarks --write benchmarks/results.md

# The score of the autoscaler's policy in a simulator of its own.  SEEDS=1-4 are other traces.
autoscale: $(VENV)/.installed
	$(COMPILE)
	$(BIN)/python -m benchmarks.autoscale $(if $(SEEDS),--seeds $(SEEDS))

# 100,000 inputs of all kinds, cancelled, failing and late, whose counts must agree to the
# last one.  SEED=... runs the same schedule of calls again.  Then 10,000 whose containers are worker
# processes, one of which is killed every 50 ms.
# PLACEMENT=thread or PLACEMENT=process is one of the two alone.  Before that, 10,000 cancels that
# strike code as it returns, and as many that strike it as it calls.
stress: $(VENV)/.installed-test
	MOORAGE_CANCELS=10000 $(BIN)/python -m pytest -q tests/test_strikes.py
	$(foreach placement,$(or $(PLACEMENT),thread process),$(BIN)/python -m tests.stress \
		--placement $(placement) $(if $(SEED),--seed $(SEED)) &&) true

# Worker processes die at each byte of what they and the driver say to each other, and before and
# after each system call: nothing is lost.  About 40 minutes.
kills: $(VENV)/.installed-test
	MOORAGE_WITNESS_STEP=1 MOORAGE_TEST_HANGS_AFTER=7200 $(BIN)/python -m pytest -q \
		--numprocesses 2 tests/placing/test_frames_cut_off.py tests/placing/test_faults.py \
		tests/test_lost_children.py

# Dicts, queues and volumes against plain models, in thousands of random programs each; then pools,
# lost containers, apps and deadlocks, in hundreds.  About twenty minutes.
models: $(VENV)/.installed-test
	MOORAGE_EXAMPLES=3000 $(BIN)/python -m pytest -q -k model \
		tests/test_dicts.py tests/test_queues.py tests/test_volumes.py
	MOORAGE_EXAMPLES=500 $(BIN)/python -m pytest -q --numprocesses 2 \
		tests/test_pool_model.py tests/test_lost_containers_model.py \
		tests/test_app_model.py tests/test_deadlock_model.py

# Gigabytes through web endpoints, beside slow clients: memory stays bounded, and a neighbour is
# as quick as alone.  About two minutes.
load: $(VENV)/.installed-test
	$(BIN)/python -m tests.load

# Racy programs, each found within 200 seeds and replayed by 20 processes, and correct ones, which
# pass 2,000 seeds; and programs that are the same in 200 runs.  About 30 minutes.
explorations: $(VENV)/.installed-test
	$(BIN)/python -m tests.explorations
	MOORAGE_SAME_RUNS=200 $(BIN)/python -m pytest -q tests/test_same_every_run.py

# Breaks the pool at one call of `_settle_down` after the other: its model must find each.  Then
# at one step inside it after the other, for information.
mutants: $(VENV)/.installed-test
	$(BIN)/python -m tests.mutations

# Records the differential test's programs, and command lines, anew with the real package, in a
# venv of its own.
differential: $(VENV)/.installed-test $(VENV)/modal/.installed
	rm -rf $(VENV)/modal/recorded
	$(BIN)/python -m tests.differential record \
		--python $(VENV)/modal/bin/python --into $(VENV)/modal/recorded
	diff -r tests/differential/recorded $(VENV)/modal/recorded
	$(BIN)/python -m tests.cli.lines --python $(VENV)/modal/bin/python
	git diff --exit-code tests/cli/recorded.json

$(VENV)/modal/.installed: $(VENV)/bin/python
	$(PYTHON) -m venv $(VENV)/modal
	$(VENV)/modal/bin/pip install --quiet --disable-pip-version-check modal==1.6.4
	touch $@

$(VENV)/bin/python:
	$(PYTHON) -m venv $(VENV)

$(VENV)/.installed: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable .
	$(COMPILE)
	touch $@

$(VENV)/.installed-demo: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[cli]'
	touch $@

# With all that the other two need: pip runs once.
$(VENV)/.installed-test: $(VENV)/bin/python pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[test,all]'
	$(COMPILE)
	touch $(VENV)/.installed $(VENV)/.installed-demo $@

$(VENV)/.installed-bench: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[bench]'
	touch $@

$(VENV)/.installed-search: $(VENV)/.installed
	$(BIN)/pip install --quiet --disable-pip-version-check --editable '.[search]'
	touch $@

clean:
	rm -rf $(VENV) examples/search/.cache .pytest_cache .mypy_cache .ruff_cache .hypothesis build dist
