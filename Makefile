# Needs git, make and Python 3.11 or later with venv; builds .venv, each step again only when its inputs change.
PYTHON ?= python3
# Named for the Python asked for: another one makes .venv anew.
MADE := .venv/.made-by$(subst /,-,$(PYTHON))
PIP := .venv/bin/uv pip
HASHED := --python .venv --quiet --require-hashes --no-build --compile-bytecode
ITSELF := --python .venv --quiet --offline --no-deps --editable .
LOCK := $(PIP) compile --quiet --universal --fork-strategy fewest --generate-hashes --no-build --custom-compile-command "make lock"
PYTEST := .venv/bin/pytest -n auto --dist worksteal
BUILDER = $(firstword $(shell command -v podman buildah))
ARGS ?=

.PHONY: help run test check fmt everywhere east west browser screenshots spark bench trust mutants sbom container lock
help: ; @awk -F ':.*## ' '/^[a-z]+:[^;]*## / {printf "make %-13s%s\n", $$1, $$2}' Makefile

run: .venv/.run ## start the service, with a sample book in an empty store
	.venv/bin/ebill serve --demo $(ARGS)

test: check ## check, then all tests (ARGS="-k posting": some of them; ARGS=--cov: with coverage)
	$(PYTEST) $(ARGS)

check: .venv/.test ## format, lint, types, import direction
	.venv/bin/ruff format --check
	.venv/bin/ruff check
	.venv/bin/mypy
	.venv/bin/lint-imports --no-logo

fmt: .venv/.test ## format, and mend what lint can mend
	.venv/bin/ruff check --fix-only
	.venv/bin/ruff format

everywhere: east west ## all tests that may depend on where they run, on either side of the date line

east: .venv/.test
	TZ=Pacific/Kiritimati $(PYTEST) -m "not anywhere" $(ARGS)

west: .venv/.test ## the western side of it, under python -O
	TZ=Etc/GMT+12 PYTHONOPTIMIZE=1 $(PYTEST) -m "not anywhere" -k "not postgresql" -W "ignore:assertions not in test modules" $(ARGS)

browser: .venv/.test ## the pages in a real browser, which is Debian's chromium
	$(PYTEST) tests/test_pages_browser.py $(ARGS)

screenshots: .venv/.test ## take the README's pictures of the pages anew
	.venv/bin/python -m tests.screenshots

spark: .venv-spark/.made ## the same dates on a local Spark, which needs Java 17 or later
	PYSPARK_PYTHON=$(CURDIR)/.venv-spark/bin/python SPARK_LOCAL_IP=127.0.0.1 .venv-spark/bin/pytest -n0 tests/test_batch_spark.py $(ARGS)

bench: .venv/.test ## how long things take (ARGS=one_month: a part; ARGS=--keep: keep its ratios)
	.venv/bin/python -m tests.bench $(ARGS)

trust: .venv/.test ## show every goal of reliability, some two hours (ARGS="G6 G7": some; ARGS=--quick: in minutes)
	.venv/bin/python -m tests.trust $(ARGS)

mutants: .venv/.test ## plant faults and list those that no test sees (ARGS=ebill/dates.py: in one module)
	.venv/bin/python -m tests.mutants $(ARGS)

sbom: .venv/.test ## what the service is made of, as CycloneDX, and every licence: dist/sbom.json, dist/licences.csv
	mkdir -p dist
	.venv/bin/uv venv --quiet --clear --python .venv/bin/python dist/.venv
	$(PIP) sync --python dist/.venv --quiet --require-hashes --no-build requirements.lock
	.venv/bin/cyclonedx-py environment --pyproject pyproject.toml --output-reproducible --output-format JSON --output-file dist/sbom.json dist/.venv
	.venv/bin/python -m tests.licences > dist/licences.csv

container: ## build the container "ebill" with podman or buildah (ARGS="--build-arg BASE=…": on another Debian)
	@[ -n "$(BUILDER)" ] || { echo "podman or buildah is needed, as in: apt-get install podman" >&2; exit 1; }
	$(BUILDER) build --format docker --file ebill/operating/Containerfile --tag ebill $(ARGS) .

lock: $(MADE) ## pin what pyproject.toml asks for (ARGS=--upgrade: anew)
	$(LOCK) $(ARGS) --group setup --output-file requirements-uv.lock
	$(LOCK) $(ARGS) pyproject.toml --output-file requirements.lock
	$(LOCK) $(ARGS) pyproject.toml --extra test --constraint requirements.lock --output-file requirements-dev.lock
	$(subst --no-build ,,$(LOCK)) $(ARGS) pyproject.toml --extra test --extra spark --constraint requirements-dev.lock --output-file requirements-spark.lock

$(MADE): requirements-uv.lock
	$(PYTHON) -c 'import sys; sys.version_info >= (3, 11) or sys.exit("Python 3.11 or later is needed, as in: make PYTHON=python3.11 run")'
	$(PYTHON) -m venv --clear .venv
	.venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes --no-deps -r requirements-uv.lock
	touch $@

# Adds to what is there: the tools of .venv/.test stay.
.venv/.run: requirements.lock pyproject.toml $(MADE)
	$(PIP) install $(HASHED) -r requirements.lock
	$(PIP) install $(ITSELF)
	touch $@

.venv/.test: requirements-dev.lock pyproject.toml $(MADE)
	$(PIP) sync $(HASHED) requirements-dev.lock
	$(PIP) install $(ITSELF)
	touch .venv/.run $@

# Apart from the others: Spark is 400 MB, and only built from source, by the setuptools of the same lock.
.venv-spark/.made: requirements-spark.lock pyproject.toml $(MADE)
	$(PYTHON) -m venv --clear --without-pip .venv-spark
	$(PIP) sync --python .venv-spark --quiet --require-hashes --build-constraints requirements-spark.lock requirements-spark.lock
	$(PIP) install --python .venv-spark --quiet --offline --no-deps --editable .
	touch $@
