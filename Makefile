# The two commands a newcomer needs are `make run` and `make test`; `make help` lists the rest.
# A distribution's own Python comes first: it is built with profiles, which one compiled by a version manager mostly is not, and takes a
# fifth less CPU for a request.
PYTHON ?= $(shell for p in /usr/bin/python3.11 /usr/bin/python3 python3.11 python3 python3.12 python3.13 python3.14; do \
	command -v $$p >/dev/null 2>&1 && $$p -c 'import ensurepip, venv, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
	echo $$p && break; done)
VENV := .venv
STAMP := $(VENV)/.installed
BIN := $(VENV)/bin

.DEFAULT_GOAL := help
.PHONY: help setup run test lint unit test-observability matrix strategies soak-ledger systemd bench bench-judged bench-hot bench-request bench-ledger \
	bench-engine kill prices dashboards zipapp zipapps soak release lock clean

help:            ## this list
	@grep -hE '^[a-z-]+: .*##' $(MAKEFILE_LIST) | awk -F ':.*## ' '{printf "  make %-13s %s\n", $$1, $$2}'

setup: $(STAMP)  ## make .venv with every dependency, hash-checked, and the project in editable form

$(STAMP): packaging/requirements-dev.txt pyproject.toml
	@test -n "$(PYTHON)" || { echo "make: no Python 3.11 or newer found; install one or say PYTHON=/path/to/python3" >&2; exit 1; }
	$(PYTHON) -m venv --clear $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --require-hashes -r packaging/requirements-dev.txt
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $(STAMP)

run: setup       ## start the demo: gateway, simulated providers, a key and a curl line
	@exec $(BIN)/python -m appliance demo

test: lint unit  ## lint, type check and every test

lint: setup      ## ruff and mypy --strict
	$(BIN)/ruff check .
	$(BIN)/mypy

unit: setup      ## the tests alone, four files side by side: end-to-end ones mostly wait, the others compute
	$(BIN)/python -m pytest -q -n 4 --dist loadfile $(if $(SHORT),--ignore=tests/observability)

test-observability: setup ## dashboards and alerts against Prometheus itself, which is installed where it is missing (Debian, root)
	packaging/install-observability.sh
	OBSERVABILITY_REQUIRED=1 $(BIN)/python -m pytest -q -n 2 --dist loadfile tests/observability $(if $(SHORT),-k "not what_a_runbook_says")

matrix: setup    ## every recorded answer of a provider × every language that is accepted: the table, with counts
	$(BIN)/python -m pytest -q -s tests/system/test_system_matrix.py

strategies: setup ## each strategy when a backend turns slow, fails or comes back, and hedging: shares and p99, on a virtual clock
	$(BIN)/python -m pytest -q -s tests/gateway/test_gateway_strategies.py tests/gateway/test_gateway_hedging.py

soak-ledger: setup ## fifty rounds of requests against a small budget, each ended by kill -9; figures of each round
	LEDGER_ROUNDS=$(or $(ROUNDS),50) $(BIN)/python -m pytest -q -s tests/system/test_system_invariant.py

systemd: setup   ## the units: valid, how closed, the gateway in their sandbox, restarts with the socket held; figures of each
	$(BIN)/python -m pytest -q -s -rs tests/systemd tests/test_notify.py tests/system/test_system_notify.py

bench: setup     ## CPU, latency and memory against the floor (needs wrk, nginx, two quiet cores)
	$(BIN)/python tests/benchmarks/measure.py

bench-judged: setup ## what a cache and an experiment cost who gains nothing by them, beside a gateway without
	$(BIN)/python tests/benchmarks/judged.py

bench-hot: setup ## the hot pure functions, each alone
	$(BIN)/python tests/benchmarks/hot.py

bench-request: setup ## one request without sockets: its time, and its bytecodes by part, which no other load changes
	$(BIN)/python tests/benchmarks/request.py

bench-engine: setup ## the HTTP/1.1 engine's bytecodes for one request, both of its sides, over real sockets
	$(BIN)/python tests/benchmarks/engine.py

bench-scrape: setup ## 64 streams while 20,000 series are scraped without a pause: by how much their latest chunk is later
	$(BIN)/python tests/benchmarks/scrape.py

prices: setup    ## write the price table anew from the installed genai-prices package (a development dependency)
	PYTHONPATH=. $(BIN)/python packaging/update_prices.py

dashboards: setup ## write the Grafana dashboards' JSON and the Kubernetes manifests anew (RUNBOOKS=https://... for links to yours)
	$(BIN)/python -m observability.dashboards $(if $(RUNBOOKS),--runbooks $(RUNBOOKS))
	$(BIN)/python -m observability.kubernetes

bench-ledger: setup ## a million rows: bytes and CPU a row, and how long usage by day takes
	$(BIN)/python tests/benchmarks/ledger.py

kill: setup      ## kill -9 of a busy gateway, 50 rounds: every request is in the ledger once
	LEDGER_KILL_ROUNDS=50 $(BIN)/python -m pytest -q -s tests/system/test_system_ledger.py -k whenever

zipapp: setup    ## dist/appliance.pyz for this machine's Python, with its bill of materials and SHA256SUMS
	$(BIN)/python packaging/build_zipapp.py

zipapps: setup   ## the same for CPython 3.11, 3.12 and 3.13 on x86_64 and arm64
	$(BIN)/python packaging/build_zipapp.py --all

soak: setup      ## ten minutes of callers who leave, faults and reloads: memory, descriptors, log and ledger, with figures
	SOAK_S=$(or $(SECONDS),600) $(BIN)/python -m pytest -q -s tests/system/test_system_soak.py

release: setup   ## from a clean commit: checks, tests, zipapps for all, bills of materials, SHA256SUMS, notes; OPTIONS=--dry-run says it only
	$(BIN)/python packaging/release.py $(OPTIONS)

lock:            ## resolve the dependencies again (needs uv) and write the hash-locked lists
	uv pip compile pyproject.toml --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url -q -o packaging/requirements.txt
	uv pip compile pyproject.toml --extra dev --universal --python-version 3.11 --generate-hashes --no-annotate --no-header --no-emit-index-url -q -c packaging/requirements.txt -o packaging/requirements-dev.txt

clean:           ## remove what setup and the tests made
	rm -rf $(VENV) .mypy_cache .ruff_cache build dist *.egg-info
