# make           the same as make help: these lines
# make install   build .venv with everything for development
# make demo      a sample company on http://127.0.0.1:8000 (PORT=...); ctrl-C ends it; FRESH=1 makes it anew,
#                LIVE=0 keeps it still
# make demo-cluster  the same on PostgreSQL and Redis, with two web servers and three clusters
# make test      all tests, on SQLite and on PostgreSQL
# make check     everything else that must hold
# make versions  all tests on the oldest and the newest Python and Django; ON=sqlite for one database, BRIEF=1
# make format    put code into its form
# make bench     measure speed on 100,000 accounts and 10 million signals (ACCOUNTS=... SIGNALS=...); takes minutes
# make storm     10,000 plays under clusters and people killed at random, on PostgreSQL with both brokers
#                (STORM_PLAYS=... BROKER=orm or redis); takes the better part of an hour
# make pins      compile requirements/ anew; UPGRADE=--upgrade takes the newest versions
# make settings-page  write docs/settings.md from the code
# make docs      build the documentation into docs/_build/html
# make clean     remove what was built, but no data

PORT ?= 8000
ACCOUNTS ?= 100000
SIGNALS ?= 10000000
STORM_PLAYS ?= 10000
BROKER ?= orm redis
FRESH ?=
LIVE ?=
UPGRADE ?=
ON ?=
BRIEF ?=
VENV = .venv
PYTHON = $(VENV)/bin/python
MANAGE_TESTS = DATABASE_URL=sqlite://:memory: $(PYTHON) manage.py
# Two at a time; tests that share something costly stay together: tests/together.py.
PYTEST = $(PYTHON) -m pytest --numprocesses 2
WITHOUT_SERVICES = env -u DATABASE_URL -u REDIS_URL

.PHONY: help install demo demo-cluster test check versions format bench storm pins settings-page docs clean
.DELETE_ON_ERROR:

# The head of this file, up to its first empty line.
help:
	@sed -n -e '/^$$/q' -e 's/^# //p' $(firstword $(MAKEFILE_LIST))

install: $(VENV)/.dev

$(PYTHON):
	@for candidate in python3.13 python3.12 python3.11 python3; do \
		if $$candidate -c 'import ensurepip, sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then \
			exec $$candidate -m venv $(VENV); \
		fi; \
	done; \
	echo 'No Python 3.11 or newer with its venv module was found (on Debian: apt-get install python3-venv).' >&2; \
	exit 1

$(VENV)/.site: requirements/site.txt | $(PYTHON)
	@echo 'Installing what the site needs.'
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $@

$(VENV)/.dev: requirements/dev.txt requirements/site.txt | $(PYTHON)
	@echo 'Installing what development needs.'
	@$(PYTHON) -m pip install --quiet --disable-pip-version-check --requirement $<
	@touch $(VENV)/.site $@

# Without DEBUG, as in earnest: with it Django keeps every query, which slows the sample company down.
.secret_key: | $(PYTHON)
	@umask 077 && $(PYTHON) -c 'import secrets; print(secrets.token_urlsafe(50))' > $@

demo: $(VENV)/.site .secret_key
	@SECRET_KEY="$${SECRET_KEY:-$$(cat .secret_key)}" exec $(PYTHON) manage.py csplaybooks_demo --port $(PORT) $(if $(FRESH),--fresh) $(if $(filter 0,$(LIVE)),--no-live)

demo-cluster: $(VENV)/.site
	@$(WITHOUT_SERVICES) PORT=$(PORT) $(PYTHON) -m tests.cluster.demo

test: $(VENV)/.dev
	@$(PYTHON) -m tests.postgres
	@echo 'Tests on SQLite'
	@$(WITHOUT_SERVICES) $(PYTEST)
	@$(WITHOUT_SERVICES) $(PYTHON) -m tests.postgres $(PYTEST)

# A link that leads nowhere is a warning, and a warning is an error. All pages anew, or old warnings stay untold.
BUILD_DOCS = $(PYTHON) -m sphinx -W --keep-going -E -n -q -b html -d docs/_build/doctrees docs docs/_build/html

docs: $(VENV)/.dev
	@$(BUILD_DOCS)
	@echo 'The first page: docs/_build/html/index.html'

# In parts, which can be had side by side: make --jobs 2 --output-sync check
.PHONY: .check-code .check-pages .check-release
check: .check-code .check-pages .check-release

.check-code: $(VENV)/.dev .typing
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	cd .typing && ../$(VENV)/bin/lint-imports --config ../pyproject.toml

.check-pages: $(VENV)/.dev
	find templates accounts signals playbooks -name '*.html' -exec $(VENV)/bin/djade --check {} +
	$(MANAGE_TESTS) check --settings tests.settings --fail-level WARNING
	$(MANAGE_TESTS) makemigrations --settings tests.settings --check --dry-run
	$(BUILD_DOCS)

.check-release: $(VENV)/.dev
	! grep -nE '://|--(extra-)?index-url|--find-links' requirements/*.txt
	rm -rf build dist *.egg-info
	$(PYTHON) -m build --no-isolation >/dev/null
	$(VENV)/bin/check-wheel-contents dist/*.whl

versions: $(VENV)/.dev
	@$(WITHOUT_SERVICES) $(VENV)/bin/nox -- $(addprefix --on=,$(ON)) $(if $(BRIEF),--brief)

# The package as the wheel has it, by links: for mypy, import-linter and editors.
.PHONY: .typing
.typing:
	@rm -rf .typing && mkdir -p .typing/csplaybooks
	@ln -s ../../accounts ../../signals ../../playbooks ../../templates .typing/csplaybooks/
	@cd .typing/csplaybooks && ln -s ../../csplaybooks/* .

format: $(VENV)/.dev
	$(PYTHON) -m ruff check --fix .
	$(PYTHON) -m ruff format .
	find templates accounts signals playbooks -name '*.html' -exec $(VENV)/bin/djade {} +

# Universal: one file serves every Python from 3.11 on, and holds no registry's address.
COMPILE = $(VENV)/bin/uv pip compile --quiet --universal --no-header --no-emit-index-url $(UPGRADE) \
	--extra site --extra redis --extra demo pyproject.toml
pins: $(VENV)/.dev
	$(COMPILE) --group dev --output-file requirements/dev.txt
	$(COMPILE) --constraint requirements/dev.txt --output-file requirements/site.txt

settings-page: $(VENV)/.dev
	@$(PYTHON) -m docs.generate_settings

# The data is made once and kept in .bench/ (some 6 GB at this size).
bench: $(VENV)/.dev
	@$(WITHOUT_SERVICES) $(PYTHON) -m bench --accounts $(ACCOUNTS) --signals $(SIGNALS)

# One broker after the other; what is wrong with the first does not keep the second from being tried.
storm: $(VENV)/.dev
	@failed=; for broker in $(BROKER); do \
		$(WITHOUT_SERVICES) $(PYTHON) -m tests.storm --plays $(STORM_PLAYS) --broker $$broker || failed=1; \
	done; test -z "$$failed"

clean:
	rm -rf $(VENV) .nox .typing build dist docs/_build *.egg-info htmlcov .coverage
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
