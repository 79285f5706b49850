# Two commands do everything on a fresh machine: `make demo` and `make test`. Neither needs root.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
RECORDING := $(if $(VIGIL_DEMO_RECORDING),--recording $(VIGIL_DEMO_RECORDING),)
SECONDS_ := $(if $(VIGIL_DEMO_SECONDS),--seconds $(VIGIL_DEMO_SECONDS),)

.PHONY: demo test check env clean fuzz chaos soak
.DEFAULT_GOAL := demo

demo: $(VENV)/runtime.ok
	@exec $(BIN)/vigil up --demo $(SECONDS_) $(RECORDING)

test: check
	$(BIN)/python -m tests.support.chromium
	$(BIN)/pytest

fuzz: $(VENV)/dev.ok
	$(BIN)/python -m tests.fuzz.decoders --inputs 100000

chaos: $(VENV)/dev.ok
	@$(BIN)/python -m tests.chaos $(FAULTS)

soak: $(VENV)/dev.ok
	@$(BIN)/python -m tests.chaos.soak

check: $(VENV)/dev.ok
	$(BIN)/ruff check .
	$(BIN)/mypy
	$(BIN)/lint-imports

env: $(VENV)/dev.ok

$(VENV)/runtime.ok: requirements/runtime.txt pyproject.toml
	@echo "preparing the environment in $(VENV) (once; about a minute)"
	@test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/runtime.txt
	@$(BIN)/pip install --quiet --disable-pip-version-check --no-deps --no-build-isolation -e .
	@touch $@

$(VENV)/dev.ok: requirements/dev.txt $(VENV)/runtime.ok
	@$(BIN)/pip install --quiet --disable-pip-version-check --require-hashes -r requirements/dev.txt
	@touch $@

clean:
	rm -rf $(VENV) .pytest_cache .mypy_cache .ruff_cache .hypothesis .schemathesis test-artifacts
