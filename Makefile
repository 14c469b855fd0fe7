# Every target installs what it needs first. `make` alone lists the targets.
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
SERVE ?= 1
export OMP_NUM_THREADS ?= 1
export PIP_DISABLE_PIP_VERSION_CHECK = 1

.PHONY: help install demo serve test check lint types format bench clean
help:
	@echo 'make demo    install, run the whole job on real data, then serve (SERVE=0: stop before serving)'
	@echo 'make serve   serve what the demo made'
	@echo 'make test    install, run the tests'
	@echo 'make check   lint, types, import rules, tests: what CI runs'
	@echo 'make format  rewrite the code in the house format'
	@echo 'make bench   print the benchmarks'
	@echo 'make clean   remove what the demo made (var/); the virtual environment stays'

# torch first: pip would otherwise plan a build with several gigabytes of CUDA.
$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo 'Python 3.11 or newer is needed; set PYTHON=/path/to/python3.11'; exit 1; }
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV) || { echo 'No venv module: apt-get install python3-venv'; exit 1; }
	@echo 'Installing into $(VENV) (about 2 GB; some minutes the first time) ...'
	@$(BIN)/pip install --quiet -c constraints.txt torch
	@$(BIN)/pip install --quiet -c constraints.txt -e '.[dev]'
	@touch $@

install: $(VENV)/.installed

demo: install
	@$(BIN)/ndl --config configs/demo.toml demo $(if $(filter 0,$(SERVE)),--no-serve)

serve: install
	@$(BIN)/ndl --config configs/demo.toml up

# Browser tests need Debian's chromium; where it may, this installs it, else those tests say they skip.
.PHONY: browser
browser:
	@command -v chromium >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
		{ echo 'Installing chromium for the browser tests ...'; \
		  (apt-get -qq update && apt-get -qq install -y --no-install-recommends chromium) >/dev/null 2>&1; }; } || \
		echo 'No chromium here: browser tests will be skipped (apt-get install chromium).'

# So with the walls around developers' code: without these two there is the landlock wall, and the demo runs.
.PHONY: walls
walls:
	@for tool in bwrap:bubblewrap runsc:runsc; do program=$${tool%%:*}; package=$${tool##*:}; \
		command -v $$program >/dev/null || { test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
			{ echo "Installing $$package for the tests of its wall ..."; \
			  (apt-get -qq update && apt-get -qq install -y --no-install-recommends $$package) >/dev/null 2>&1; }; } || \
			echo "No $$package here: the tests of its wall will be skipped (apt-get install $$package)."; done

# So with PostgreSQL: its programs only. Debian would also make a cluster and start it; told not to, it does not.
CREATE_NO_CLUSTER := /etc/postgresql-common/createcluster.d/ndl-tests.conf
.PHONY: postgres
postgres:
	@ls /usr/lib/postgresql/*/bin/postgres >/dev/null 2>&1 || command -v postgres >/dev/null || \
		{ test "$$(id -u)" = 0 && command -v apt-get >/dev/null && \
		{ echo 'Installing postgresql for the tests of its promises ...'; \
		  trap 'rm -f $(CREATE_NO_CLUSTER)' EXIT; \
		  { apt-get -qq update && apt-get -qq install -y --no-install-recommends postgresql-common && \
		    mkdir -p $(dir $(CREATE_NO_CLUSTER)) && \
		    echo 'create_main_cluster = false' >$(CREATE_NO_CLUSTER) && \
		    apt-get -qq install -y --no-install-recommends postgresql; } >/dev/null 2>&1; }; } || \
		echo 'No postgresql here: its tests will be skipped (apt-get install postgresql).'

test: install browser walls postgres
	@$(BIN)/pytest -n 2 --dist=loadfile

lint: install
	@$(BIN)/ruff format --check .
	@$(BIN)/ruff check .
	@$(BIN)/lint-imports --no-cache

types: install
	@$(BIN)/mypy

check: lint types test

format: install
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: install
	@for script in benchmarks/*.py; do echo "== $$script"; $(BIN)/python $$script || exit 1; done

clean:
	rm -rf var
