# Two commands on a machine with Python and nothing else: `make demo` and `make test`.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PYTEST := $(BIN)/python -m pytest -n auto --dist loadgroup
# Without what setuptools has to say about editable installations.
PIP := PYTHONWARNINGS=ignore $(BIN)/python -m pip install --quiet --disable-pip-version-check

export TF_CPP_MIN_LOG_LEVEL ?= 3
# glibc gives TensorFlow's temporaries back to the kernel after every operation and asks for them
# again at the next; keeping them spares thousands of page faults a training step.
export MALLOC_ARENA_MAX ?= 1
export MALLOC_MMAP_MAX_ ?= 0
export MALLOC_TRIM_THRESHOLD_ ?= 4000000000

.PHONY: env demo test test-all test-python unit lint docs clean

env: $(VENV)/.installed

# The stamp is written last, so that an interrupted installation is taken up again.
$(VENV)/.installed: pyproject.toml constraints.txt
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@echo "Installing into $(VENV) (some minutes the first time) ..."
	@$(PIP) "pip>=24.2"  # Python 3.10's own looks for a set of versions for more than an hour.
	@$(PIP) -c constraints.txt -e ".[dev,jax,onnx,graphs,hub,optuna]"
	@touch $@

demo: env
	@$(BIN)/keras-sparse demo --out demo

lint: env
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy

docs: env
	@$(PIP) -c constraints.txt -e ".[docs]"
	@NO_MKDOCS_2_WARNING=1 DISABLE_MKDOCS_2_WARNING=true $(BIN)/mkdocs build --quiet
	@echo "The documentation is in build/docs: open build/docs/index.html"

test: lint unit

unit: env
	$(PYTEST) -m "not thorough"
	KERAS_BACKEND=jax $(PYTEST) -m "jax and not thorough"

# On another Python, in an environment of its own: make test-python VERSION=3.13
test-python:
	@python=$$(.ci/find-python "$(VERSION)") && $(MAKE) unit PYTHON="$$python" VENV=".venv-$(VERSION)"

# With every method under XLA and on replicas as well.
test-all: lint
	$(PYTEST)
	KERAS_BACKEND=jax $(PYTEST) -m jax

clean:
	rm -rf $(VENV) .venv-* build *.egg-info .pytest_cache .mypy_cache .ruff_cache .hypothesis
