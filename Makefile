# Two commands on a machine with Python 3.11 or later and make:  make demo   and   make test
PYTHON ?= python3.11
VENV := .venv
BIN := $(VENV)/bin
OUT ?= demo-out

.PHONY: demo test check clean

demo: $(VENV)/.installed
	$(BIN)/vidence demo --out $(OUT)

test: $(VENV)/.installed-dev demo
	scripts/check

check: $(VENV)/.installed-dev
	scripts/check

$(BIN)/pip:
	$(PYTHON) -m venv $(VENV)

# torch comes first: with it in place no other package asks for a larger build
$(VENV)/.torch: $(BIN)/pip constraints.txt
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt torch
	touch $@

$(VENV)/.installed: $(VENV)/.torch pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e .
	touch $@

$(VENV)/.installed-dev: $(VENV)/.torch pyproject.toml
	$(BIN)/pip install --quiet --disable-pip-version-check -c constraints.txt -e '.[dev]'
	touch $@ $(VENV)/.installed

clean:
	rm -rf $(OUT) build .pytest_cache .mypy_cache .ruff_cache
