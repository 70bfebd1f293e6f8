# make           the same as make help: these lines
# make install   build .venv with everything for development
# make demo      a sample company on http://127.0.0.1:8000 (PORT=...); ctrl-C ends it; FRESH=1 makes it anew
# make test      all tests, on SQLite and on PostgreSQL
# make check     everything else that must hold
# make format    put code into its form
# make pins      compile requirements/ anew; UPGRADE=--upgrade takes the newest versions
# make clean     remove what was built, but no data

PORT ?= 8000
FRESH ?=
UPGRADE ?=
VENV = .venv
PYTHON = $(VENV)/bin/python
MANAGE_TESTS = DATABASE_URL=sqlite://:memory: $(PYTHON) manage.py
# Two at a time; tests that share something costly say so by a group and stay together.
PYTEST = $(PYTHON) -m pytest --numprocesses 2 --dist loadgroup
WITHOUT_SERVICES = env -u DATABASE_URL -u REDIS_URL

.PHONY: help install demo test check format pins clean
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
	@SECRET_KEY="$${SECRET_KEY:-$$(cat .secret_key)}" exec $(PYTHON) manage.py csplaybooks_demo --port $(PORT) $(if $(FRESH),--fresh)

test: $(VENV)/.dev
	@$(PYTHON) -m tests.postgres
	@echo 'Tests on SQLite'
	@$(WITHOUT_SERVICES) $(PYTEST)
	@$(WITHOUT_SERVICES) $(PYTHON) -m tests.postgres $(PYTEST)

check: $(VENV)/.dev .typing
	$(PYTHON) -m ruff check .
	$(PYTHON) -m ruff format --check .
	$(PYTHON) -m mypy
	cd .typing && ../$(VENV)/bin/lint-imports --config ../pyproject.toml
	find templates accounts signals playbooks -name '*.html' -exec $(VENV)/bin/djade --check {} +
	$(MANAGE_TESTS) check --settings tests.settings --fail-level WARNING
	$(MANAGE_TESTS) makemigrations --settings tests.settings --check --dry-run
	! grep -nE '://|--(extra-)?index-url|--find-links' requirements/*.txt
	rm -rf build dist *.egg-info
	$(PYTHON) -m build --no-isolation >/dev/null
	$(VENV)/bin/check-wheel-contents dist/*.whl

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

clean:
	rm -rf $(VENV) .typing build dist *.egg-info htmlcov .coverage
	rm -rf .mypy_cache .pytest_cache .ruff_cache .hypothesis .import_linter_cache
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
