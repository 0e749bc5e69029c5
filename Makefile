# SPDX-License-Identifier: Apache-2.0
# Needs Python >= 3.11 and make, nothing else. Everything is installed into $(VENV) from the pinned set of one Airflow version.
#   make test                    the newest supported Airflow
#   make test AIRFLOW=2.11       another one, in a virtual environment of its own

AIRFLOW ?= 3.3
LOCK := requirements/airflow-$(AIRFLOW).txt
VENV ?= .venv$(if $(filter-out 3.3,$(AIRFLOW)),-$(AIRFLOW))
BIN := $(VENV)/bin
INSTALLED := $(VENV)/.installed
PYTEST := $(BIN)/python -m pytest
FOREIGN := .venv-foreign
PACKAGE := airflow_provider_adobe_audiences

.DEFAULT_GOAL := help
.PHONY: help venv test foreign system faults faults-sample people people-sample chains chaos cluster security fuzz release-check matrix matrix-short lint format types imports demo ui registry api bench bench-bulk bench-calls bench-groups bench-imports bench-uploads bench-waits model soak ci locks clean

help: ## show this list
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

venv: $(INSTALLED) ## create the virtual environment from the pinned set (quick the second time)

# 3.12 first: the one Python that every supported Airflow runs on.
$(INSTALLED): $(LOCK) requirements/uv.txt pyproject.toml
	@python="$(PYTHON)"; \
	for candidate in $${python:-python3.12 python3.11 python3.13 python3}; do \
		if $$candidate -c 'import sys, ensurepip, venv; sys.exit(sys.version_info < (3, 11))' >/dev/null 2>&1; then found=$$candidate; break; fi; \
	done; \
	if [ -x $(BIN)/python ]; then :; elif [ -n "$$found" ]; then \
		echo "creating $(VENV) with $$found"; $$found -m venv $(VENV) || exit 1; \
	else \
		echo "No Python >= 3.11 with the venv module was found."; \
		echo "Install one (on Debian or Ubuntu: apt-get install python3 python3-venv) or name it: make venv PYTHON=/path/to/python3"; exit 1; \
	fi
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r requirements/uv.txt
	@# Bytecode is compiled here, once: some machines forbid Python to do it, which costs every Airflow process two seconds.
	@$(BIN)/uv pip install --quiet --compile-bytecode --require-hashes --python $(BIN)/python -r $(LOCK)
	@$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --python $(BIN)/python -e .
	@touch $@

test: venv ## every test but the slow suites on a running Airflow (PYTEST_ARGS= for more options)
	$(PYTEST) -n 2 --dist worksteal -m "not system and not faults and not people and not chains and not foreign and not cluster" $(PYTEST_ARGS)

faults: venv ## kill, cut and stall everything everywhere: nothing lost, nothing doubled; counts into docs/reliability.md
	$(PYTEST) tests/faults -n 2 --dist worksteal -m faults --every-case --fault-results build/faults.jsonl $(PYTEST_ARGS)
	$(BIN)/python -m tests.faults.table build/faults.jsonl

faults-sample: venv ## the same for a sample of the cases, as in CI
	$(PYTEST) tests/faults -n 2 --dist worksteal -m faults $(PYTEST_ARGS)

people: venv ## clear, mark, delete, edit and run twice everywhere: right data or a clear failure; counts into docs/reliability.md
	$(PYTEST) tests/faults -n 2 --dist worksteal -m "people or chains" --every-case --fault-results build/people.jsonl $(PYTEST_ARGS)
	$(BIN)/python -m tests.faults.table build/people.jsonl

people-sample: venv ## the same for a sample of the cases, and random chains
	$(PYTEST) tests/faults -n 2 --dist worksteal -m "people or chains" $(PYTEST_ARGS)

chains: venv ## random chains of acts and faults with fixed seeds, as in CI
	$(PYTEST) tests/faults -n 2 --dist worksteal -m chains $(PYTEST_ARGS)

chaos: venv ## random chains of acts and faults without end, each with its seed (CHAOS_ARGS="--seed 7 --count 100")
	$(BIN)/python -m tests.faults.chains $(CHAOS_ARGS)

system: venv ## tests on a running Airflow with scheduler, triggerer and API server
	$(PYTEST) tests/system -m system $(PYTEST_ARGS)

CLUSTER := .venv-cluster

$(CLUSTER)/.installed: requirements/cluster.txt $(INSTALLED)
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(CLUSTER)
	@$(BIN)/uv pip install --quiet --compile-bytecode --require-hashes --python $(CLUSTER)/bin/python -r $(LOCK) -r requirements/cluster.txt
	@$(BIN)/uv pip install --quiet --no-deps --no-build-isolation --python $(CLUSTER)/bin/python -e .
	@touch $@

cluster: venv $(CLUSTER)/.installed ## Postgres, Redis, Celery: every part is killed while the examples run (needs postgresql, redis-server)
	$(CLUSTER)/bin/python -m pytest tests/cluster -m cluster $(PYTEST_ARGS)

TOOLS := .venv-tools

$(TOOLS)/.installed: requirements/tools.txt
	@$(MAKE) --no-print-directory venv
	@$(BIN)/uv venv --quiet --clear --python $(BIN)/python $(TOOLS)
	@$(BIN)/uv pip install --quiet --require-hashes --python $(TOOLS)/bin/python -r requirements/tools.txt
	@touch $@

security: $(TOOLS)/.installed ## secret scan, bandit, zizmor: no finding
	$(TOOLS)/bin/python scripts/security.py

# Their own environment: what they pin is none of Airflow's business.
$(FOREIGN)/.installed: requirements/foreign.txt
	@$(BIN)/python -m venv --without-pip $(FOREIGN)
	@$(BIN)/uv pip install --quiet --compile-bytecode --require-hashes --python $(FOREIGN)/bin/python -r requirements/foreign.txt
	@if command -v npm > /dev/null; then npm install --silent --no-save --no-package-lock --no-audit --no-fund --prefix $(FOREIGN) @adobe/aio-lib-ims@8.1.2; \
	else echo "npm was not found: @adobe/aio-lib-ims is left out"; fi
	@touch $@

foreign: venv $(FOREIGN)/.installed ## clients that others wrote for Adobe, and a fuzzer on Adobe's files, against the emulator
	$(PYTEST) tests/foreign tests/emulator/test_malformed.py -m foreign $(PYTEST_ARGS)

fuzz: venv ## a million hostile URLs and responses (FUZZ_ARGS="--count 1000 --seed 7")
	$(BIN)/python -m scripts.fuzz $(FUZZ_ARGS)

release-check: $(TOOLS)/.installed ## everything of a release but its publication: one version, two equal builds, twine, contents, SBOM
	$(TOOLS)/bin/python scripts/release.py $(RELEASE_ARGS)

matrix: venv ## the built wheel on every Airflow and Python, as a table; writes docs/compatibility.md (MATRIX_ARGS="--only 2.11")
	$(BIN)/python -m scripts.matrix $(MATRIX_ARGS)

matrix-short: venv ## the same with fewer tests and one Python for each Airflow, as in CI
	$(BIN)/python -m scripts.matrix --short $(MATRIX_ARGS)

lint: venv ## ruff: style, security, heavy imports
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

format: venv ## let ruff mend what it can
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

types: venv ## mypy --strict
	$(BIN)/mypy

imports: venv ## the layers: imports run downward only
	$(BIN)/lint-imports

demo: venv ## emulator and real Airflow, the example DAGs on real data, a summary of what now exists at "Adobe"
	@$(BIN)/python -m scripts.demo

ui: venv ## the same, left running for you to click through until Ctrl-C
	@$(BIN)/python -m scripts.demo --keep

registry: venv ## write .airflow-registry.yaml from the classes
	@$(BIN)/python -m scripts.registry

api: venv ## record the public API and what is stored of triggers (tests/contract)
	@$(BIN)/python -m scripts.api
	$(PYTEST) -q tests/faults/test_xcom.py -k recorded_one --record-shapes

PEERS := build/peers

$(PEERS)/.installed: requirements/benchmarks.txt $(INSTALLED)
	@$(BIN)/uv pip install --quiet --no-deps --require-hashes --compile-bytecode --python $(BIN)/python --target $(PEERS) -r $<
	@touch $@

bench: venv $(PEERS)/.installed $(FOREIGN)/.installed ## all benchmarks, as ratios to peers in the same run: build/benchmarks.json, docs/images
	$(BIN)/python -m benchmarks
	$(BIN)/python -m benchmarks.real_waits 1000

bench-bulk: venv $(FOREIGN)/.installed ## the body of a bulk profile update, beside csv + quote and pandas
	$(BIN)/python -m benchmarks bulk_profile_body

bench-calls: venv $(FOREIGN)/.installed ## one call, beside requests.Session, HttpHook and aepp
	$(BIN)/python -m benchmarks calls

bench-groups: venv ## 300 changes in 10,000 groups, beside requests one by one
	$(BIN)/python -m benchmarks groups_sync

bench-imports: venv $(PEERS)/.installed ## modules of operators beside airbyte's, import airflow with and without this provider
	$(BIN)/python -m benchmarks imports

bench-uploads: venv ## files of 2 GB and 2,000 small ones, beside curl and requests one by one
	$(BIN)/python -m benchmarks uploads

bench-waits: venv $(PEERS)/.installed ## deferred waits: 1 to 5,000 in one event loop beside peers, and 1,000 in a real triggerer
	$(BIN)/python -m benchmarks waits
	$(BIN)/python -m benchmarks.real_waits 1000

model: venv ## what 200 tenants cost: requests, tokens, memory; writes docs/performance.md
	@$(BIN)/python -m scripts.model $(MODEL_ARGS)

soak: venv ## the example DAGs for 30 minutes under faults, and people who clear, mark and kill (SOAK_ARGS="--minutes 3" for less)
	$(BIN)/python -m scripts.soak $(SOAK_ARGS)

ci: ## everything that CI runs
	bash .ci/run

# Old versions of Airflow only work with what was around in their time, so each set is resolved as of a day soon after the release.
locks: ## resolve the pinned sets anew
	@$(MAKE) --no-print-directory venv
	bash requirements/resolve $(BIN)/uv

clean: ## remove what make and the tests have made
	rm -rf .venv .venv-* build dist .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
