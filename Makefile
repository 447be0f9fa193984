# `make help` lists the targets. Only POSIX shell is used, and only relative paths, so that the folder's own
# path may hold spaces.

.DEFAULT_GOAL := help
.PHONY: help env book serve lab test matrix coverage mutants lint format notebooks pages links clean clean-env

PY := .venv/bin/python
CODE := recsys_lib tests tools benchmarks book
# make book CHAPTER=02 PARAMS="-p epochs 3" | make book JOBS=1
CHAPTER ?=
PARAMS ?=
# Two notebooks side by side, on one core each, take little more than half the time: most steps are small.
JOBS ?= 2
PORT ?= 0
ROWS ?=
NAMES ?=

help: ## list the targets
	@sed -n 's/^\([a-z-]*\):.*## \(.*\)/make \1|\2/p' Makefile | while IFS='|' read -r name text; do \
	printf '  %-16s %s\n' "$$name" "$$text"; done
	@printf '\n  %s\n  %s\n' 'make book CHAPTER=02 PARAMS="-p epochs 3"' \
	'                   one chapter again, with parameters of your own'

env: ## make .venv, or refresh it when requirements.txt or pyproject.toml changed
	@for python in "$$PYTHON" .venv/bin/python python3.11 python3.12 python3.13 python3; do \
	  if [ -n "$$python" ] && "$$python" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
	    2>/dev/null; then exec "$$python" tools/make_env.py; fi; \
	done; \
	echo 'The book needs Python 3.11, 3.12 or 3.13 and found none of python3.11, python3.12, python3.13, python3.' >&2; \
	echo 'Install one, or name it: make env PYTHON=/path/to/python3.12' >&2; exit 1

book: env ## fetch the data, run the notebooks that changed, render the pages
	@$(PY) -m tools.build_book --chapter '$(CHAPTER)' --jobs '$(JOBS)' $(PARAMS)

serve: env ## show the rendered book in a browser (PORT=8000 picks the port)
	@$(PY) -m tools.serve --port '$(PORT)'

lab: env ## open the notebooks in Jupyter, to run and change them
	@$(PY) -m jupyterlab book/chapters

test: env lint ## lint, types, unit tests, doctests, notebooks, and the rendered pages if there are any
	@# one thread each: two processes with all threads wait for each other most of the time
	OMP_NUM_THREADS=1 $(PY) -m pytest -rs -n '$(JOBS)' --dist loadfile
	@[ -e _run/_build/html/index.html ] || \
	  echo 'note: the checks on rendered pages were skipped; run `make book` first to have them too'

matrix: env ## the library's tests with other versions of Python and of what it needs (ROWS="numpy-2 oldest")
	$(PY) -m tools.matrix $(ROWS)

coverage: env ## which lines and branches of recsys_lib no unit test goes through
	OMP_NUM_THREADS=1 $(PY) -m pytest -n '$(JOBS)' --dist loadfile --ignore=tests/book \
	  --cov --cov-report=term:skip-covered --cov-fail-under=95
	@$(PY) -m tools.suite

mutants: env ## change metrics, splits, samplers and losses in small ways: do the tests notice? (six minutes)
	$(PY) -m tools.mutants $(NAMES)

lint: env ## ruff and mypy
	$(PY) -m ruff check $(CODE)
	$(PY) -m ruff format --check $(CODE)
	$(PY) -m mypy recsys_lib tools

format: env ## let ruff and the notebook cleaner put everything in order
	$(PY) -m ruff check --fix-only $(CODE)
	$(PY) -m ruff format $(CODE)
	$(PY) -m tools.notebooks --fix

notebooks: env ## check the committed notebooks: no outputs, one parameters cell, ...
	$(PY) -m tools.notebooks

pages: env ## check the rendered pages only
	$(PY) -m pytest -rs tests/book/test_pages.py tests/book/test_browser.py

links: env ## ask every address outside the book whether it answers (needs a network)
	@$(PY) -m tools.outside_links

clean: ## remove everything a build made (data sets stay in the user's cache)
	rm -rf _run _build .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find recsys_lib tests tools benchmarks -name __pycache__ -type d -prune -exec rm -rf {} +

clean-env: ## remove .venv and the environments of the matrix
	rm -rf .venv .matrix
