# The commands of the project. `make help` lists them.

SHELL := bash
.SHELLFLAGS := -eo pipefail -c
.DEFAULT_GOAL := help
.PHONY: docs bundle help demo test up down status lint format bench bench-serving bench-soak bench-fuzz bench-gates bench-accuracy bench-accuracy-full replay clean

export UV_PYTHON_DOWNLOADS := never
# Once, on all cores: every flow run is a process that imports much of it.
export UV_COMPILE_BYTECODE := 1
UV := $(or $(shell command -v uv),.uv/bin/uv)
PYTHON := .venv/bin/python
BIN := .venv/bin
INSTALLED := .venv/.installed
ROOMS := flows serving checks models feature_repo data

help: ## List these commands.
	@awk -F ':.*## ' '/^[a-z-]+:.*## / {printf "  make %-19s %s\n", $$1, $$2}' Makefile

demo: $(INSTALLED) ## Run the whole system on real sales: from raw data to a served forecast.
	@$(PYTHON) demo.py

test: $(INSTALLED) ## Run all tests, the end-to-end test on the real components among them.
	@$(PYTHON) -m pytest -n 2 --no-loadscope-reorder --cov --cov-report=term

up: $(INSTALLED) ## Start the local stack: Prefect, MLflow and Ray Serve.
	@$(PYTHON) -m stack up

down: $(PYTHON) ## Stop the local stack.
	@$(PYTHON) -m stack down

.PHONY: rollback
rollback: $(PYTHON) ## Serve the model before the present one again.
	@$(PYTHON) -m serving.rollback

status: $(PYTHON) ## Show the processes of the stack and whether they are healthy.
	@$(PYTHON) -m stack status

lint: $(INSTALLED) ## Check style, format, types and which room imports which.
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy $(ROOMS) stack demo.py benchmarks docs
	@$(BIN)/lint-imports

.PHONY: screenshots
screenshots: $(INSTALLED) ## Take the documents' pictures of every page from the running stack.
	@$(PYTHON) -m benchmarks.screenshots

format: $(INSTALLED) ## Format the code and fix what can be fixed by itself.
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

bench: $(INSTALLED) ## Measure speed against the bare libraries; writes benchmarks/results.
	@$(PYTHON) -m benchmarks

bench-serving: $(INSTALLED) ## Measure the forecast API, under load and while things happen to it.
	@$(PYTHON) -m benchmarks.serving

bench-soak: $(INSTALLED) ## Load the API for 30 minutes (MINUTES=N for another time).
	@$(PYTHON) -m benchmarks.serving soak

bench-fuzz: $(INSTALLED) ## Send the API thousands of requests made up from its OpenAPI document.
	@$(PYTHON) -m benchmarks.serving fuzz

bench-gates: $(INSTALLED) ## Judge the retraining gate on worlds of known truth; writes benchmarks/results.
	@for part in gates promotion rollback; do $(PYTHON) -m benchmarks.$$part || failed=1; done; test -z "$$failed"

replay: $(INSTALLED) ## Replay twelve weeks of history under four policies of retraining; writes a report.
	@$(PYTHON) -m flows.replay

bench-accuracy: $(INSTALLED) ## Measure accuracy against every baseline; writes benchmarks/results.
	@$(PYTHON) -m benchmarks.accuracy

bench-accuracy-full: $(INSTALLED) ## Measure what search, inputs, history and age are worth; goes on after a kill.
	@$(PYTHON) -m benchmarks.accuracy full

.PHONY: score
score: $(INSTALLED) ## Print the ML Test Score, counted from the marks on the tests.
	@$(PYTHON) -m docs.scorecard

docs: $(INSTALLED) ## Build the documents: site, reports and slides as PDF.
	@$(UV) sync --frozen --group docs --quiet
	@$(PYTHON) -m docs.build

bundle: docs ## Pack code, documents and PDFs into one ZIP.
	@git diff --quiet HEAD || { echo "Something is not committed (\`git status\`): the ZIP would not hold it." >&2; exit 1; }
	@git archive --format=zip --prefix=shelfcast/ --output=shelfcast.zip HEAD
	@echo "shelfcast.zip holds the code and the documents of the last commit."

clean: $(PYTHON) ## Delete everything that was written at run time; asks first.
	@$(PYTHON) -m stack clean

$(INSTALLED): uv.lock pyproject.toml | $(UV)
	@echo "Installing the locked packages into .venv (2.7 GB; minutes when none is cached) ..."
	@$(UV) sync --frozen 2>&1 | sed '/^ [-+~] /d'
	@touch $@

.uv/bin/uv:
	@echo "Installing uv, the package manager, into .uv ..."
	@python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --target .uv uv

$(PYTHON):
	@echo "Nothing is installed yet: run \`make demo\` or \`make up\` first." >&2; exit 1
