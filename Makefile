# What people do with this project. Each target sets up what it needs.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin

.PHONY: demo test test-slow test-faults soak fuzz audit lint format docs notebooks bench guard schema clean

demo: $(VENV)/ready          ## cross-validate on the built-in demo images, and doubt their labels
	$(BIN)/python -m distributed.cv --recipe demo --output demo-run
	$(BIN)/python -m folds.inspect --oof demo-run --out demo-run/inspect
	@printf '%s\n' '' 'next, one after another:' \
	  '  source $(BIN)/activate' \
	  '  python -m webbrowser -t demo-run/report.html   # all of it on one page' \
	  '  python -m folds.inspect --data demo --oof demo-run   # with pictures: inspect/report.html' \
	  '  mlflow ui --backend-store-uri sqlite:///mlflow.db' \
	  '  python -m tracking.promote --model-name crossfold' \
	  '  python -m tracking.predict --data demo-lab2 --out preds.csv'

test: $(VENV)/ready          ## the tests, in two processes; 18 minutes on two cores
	$(BIN)/python -m pytest -n 2 --dist loadscope

test-slow: $(VENV)/ready     ## the tests that take minutes each
	$(BIN)/python -m pytest -m slow

test-faults: $(VENV)/ready   ## processes killed and stopped, disks filled, servers away: for real
	$(BIN)/python -m pytest -m slow tests/faults

soak: $(VENV)/ready          ## small runs under random faults, half an hour
	$(BIN)/python -m tests.faults.soak

fuzz: $(VENV)/ready          ## 10,000 damaged files a reader; some hours
	$(BIN)/python -m pytest -m slow -rA -p no:cacheprovider tests/fuzz

audit: $(VENV)/ready         ## known weaknesses of the packages, told and no more: asks PyPI
	-$(PYTHON) -m venv $(VENV)/audit
	-timeout 120 $(VENV)/audit/bin/pip install --quiet pip-audit
	-timeout 120 $(VENV)/audit/bin/pip-audit --progress-spinner off --path $$($(BIN)/python -c \
	  "import sysconfig; print(sysconfig.get_path('purelib'))")

lint: $(VENV)/ready          ## format, lint, types, import rules
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

format: $(VENV)/ready        ## bring the code into shape
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

docs: $(VENV)/docs           ## the site, into site/; any warning is an error
	NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict

notebooks: $(VENV)/docs      ## run docs/notebooks from top to bottom; minutes
	$(BIN)/python -m pytest --nbmake -p no:cacheprovider docs/notebooks

bench: $(VENV)/ready         ## every comparison in small; `python -m benchmarks.run --help` has more
	$(BIN)/python -m benchmarks.run --quick

guard: $(VENV)/ready         ## ratios of a small benchmark, held against generous bounds
	$(BIN)/python -m pytest -m slow tests/test_benchmark_runs.py -k many_times_slower

schema: $(VENV)/ready        ## write the schemas of summary.json and search.json anew
	$(BIN)/python -c "from tracking.summary import schema; print(schema(), end='')" > docs/summary.schema.json
	$(BIN)/python -c "from tracking.search.summary import schema; print(schema(), end='')" > docs/search.schema.json

$(VENV)/ready: pyproject.toml constraints.txt
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --upgrade pip
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[dev]"
	touch $@

$(VENV)/docs: $(VENV)/ready
	$(BIN)/python -m pip install --quiet -c constraints.txt -e ".[docs]"
	touch $@

clean:
	rm -rf $(VENV) build site *.egg-info .mypy_cache .ruff_cache .pytest_cache .hypothesis
