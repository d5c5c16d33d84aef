# Nothing is needed but Python (>= 3.11, < 3.14) and make: `make demo` and `make test` do the rest.
# A certain interpreter: make demo PYTHON=/path/to/python3.12

# An empty PYTHON means: look for one.
PYTHON ?=
CANDIDATES := $(if $(strip $(PYTHON)),$(PYTHON),python3 python3.13 python3.12 python3.11)
VENV := .venv
BIN := $(VENV)/bin
# More for pytest, for example: make test ARGS="-k timestamps -x"
ARGS ?=

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help demo test test-long lint bench clean

help:  ## show this list
	@echo "make TARGET, where TARGET is one of"
	@sed -n 's/^\([a-z-]*\):.*  ## \(.*\)/\1\t\2/p' $(MAKEFILE_LIST) | while IFS="$$(printf '\t')" read -r target text; do \
	  printf '  %-10s %s\n' "$$target" "$$text"; done
	@echo "The first use of any of them makes an environment in $(VENV) (about 4 GB). PYTHON=... chooses the interpreter."

demo: $(VENV)/.demo  ## make sample clips, analyse them, say where the tables and the report are
	@$(BIN)/python -m jobs.samples demo/clips
	@$(BIN)/fer-batch run demo/clips --out demo/run

test: $(VENV)/.test  ## run the tests (ARGS="-k word" to choose some)
	@$(BIN)/python -m pytest $(ARGS)

test-long: $(VENV)/.test  ## run all tests, those that take minutes too
	@$(BIN)/python -m pytest -m "long or not long" $(ARGS)

lint: $(VENV)/.dev  ## ruff and mypy
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy

bench: $(VENV)/.demo  ## measure how fast it is, half an hour (ARGS="--quick" for a minute)
	@$(BIN)/python -m benchmarks $(ARGS)

clean:  ## remove what was made, except the environment
	rm -rf demo bench build dist .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -not -path './$(VENV)/*' -prune -exec rm -rf {} +
	@echo "The environment stays; to remove it too: rm -rf $(VENV)"

# One stamp for each extra. -qq hides pip's progress and warnings; its errors still show.
$(VENV)/.%: pyproject.toml | $(BIN)/python
	@echo "Installing fer-batch[$*] into $(VENV) (a few minutes the first time) ..."
	@$(BIN)/python -m pip install -qq --disable-pip-version-check -e '.[$*]'
	@touch $@

$(BIN)/python:
	@found=; report=; \
	for candidate in $(CANDIDATES); do \
	  if version=$$("$$candidate" -c 'import sys; print("%d.%d.%d" % sys.version_info[:3])' 2>/dev/null); then \
	    if "$$candidate" -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] < (3, 14))'; then \
	      found=$$candidate; break; \
	    fi; \
	    report="$$report  $$candidate: Python $$version\n"; \
	  else \
	    report="$$report  $$candidate: not found, or it does not start\n"; \
	  fi; \
	done; \
	if [ -z "$$found" ]; then \
	  printf 'fer-batch needs Python 3.11, 3.12 or 3.13 (the versions that TensorFlow supports). Found:\n%b' "$$report" >&2; \
	  printf 'Install one of them, then name it: make %s PYTHON=/path/to/python3.12\n' "$(or $(firstword $(MAKECMDGOALS)),demo)" >&2; \
	  exit 1; \
	fi; \
	if ! "$$found" -c 'import ensurepip, venv' 2>/dev/null; then \
	  printf '%s (Python %s) cannot make virtual environments. On Debian or Ubuntu: apt install python%s-venv\n' \
	    "$$found" "$$version" "$${version%.*}" >&2; \
	  exit 1; \
	fi; \
	echo "Making an environment in $(VENV) with $$found (Python $$version)"; \
	"$$found" -m venv --clear $(VENV)
