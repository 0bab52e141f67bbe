# Two commands: `make demo` shows the plugin at work, `make test` checks everything. Both install into .venv first.

VENV := .venv
CUDA_VENV := .venv-cuda
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
	echo $$p && break; done)
SCREEN := xvfb-run -a -s "-screen 0 1400x900x24"
# napari remembers the geometry of its window; here it starts afresh each time
FRESH = NAPARI_CONFIG="$$(mktemp -d)/settings.yaml" NAPARI_ENSURE_PLUGIN_MAIN_THREAD=1

.PHONY: demo docs tutorials quick test test-benchmarks test-lowest test-newest test-cuda-build fuzz lint format clean

demo: $(VENV)/installed
ifeq ($(DISPLAY)$(WAYLAND_DISPLAY)$(filter Darwin Windows_NT,$(shell uname -s) $(OS)),)
	$(FRESH) $(SCREEN) $(VENV)/bin/python examples/demo.py --close
else
	$(FRESH) $(VENV)/bin/python examples/demo.py
endif

# compiled modules are kept wherever this runs: each process of the tests and each that they start would compile all anew
unexport PYTHONDONTWRITEBYTECODE

PYTEST = OMP_NUM_THREADS=1 $(FRESH) $(if $(shell command -v xvfb-run 2>/dev/null),$(SCREEN)) $(1)/bin/python -m pytest

# two processes, one thread each
test: lint
	$(call PYTEST,$(VENV)) -n 2 --dist worksteal --ignore=tests/benchmarks

# after each change: whole restorations of each kind, by the API, from the command line and in a window
QUICK := tests/test_fixture.py tests/tables/test_settings.py tests/core/test_operators.py \
	tests/command/test_cli.py::test_denoise_keeps_calibration_and_tells_how_it_went \
	tests/viewer/test_widget.py::test_a_run_adds_one_layer_with_its_record
quick: lint
	$(call PYTEST,$(VENV)) -q -n 2 --dist worksteal $(QUICK)

test-benchmarks: $(VENV)/installed-for-tests
	$(call PYTEST,$(VENV)) tests/benchmarks

# Environments of their own, with the lowest versions that pyproject.toml allows and with the newest that there are. Old
# releases warn of new ones, hence -W ignore. A part only: make test-lowest TESTS=tests/core. Another build of torch, one
# without CUDA's libraries say: make test-lowest TORCH=torch==2.13.0
TESTS ?= --ignore=tests/benchmarks
TORCH ?=
test-lowest: .venv-lowest/installed
test-newest: .venv-newest/installed
test-lowest test-newest: test-%:
	$(call PYTEST,.venv-$*) -n 2 --dist worksteal -W ignore $(TESTS)

# A window with the torch that Linux gets by default, some 5.5 GB; another one by make test-cuda-build CUDA_TORCH=torch==2.15.0
CUDA_TORCH ?= $(shell $(PYTHON) -c 'import sys; print("torch==2.14.1" if sys.version_info < (3, 12) else "torch")')

test-cuda-build: $(CUDA_VENV)/installed
	$(FRESH) $(SCREEN) $(CUDA_VENV)/bin/python tests/viewer/cuda_build.py

# the site, into build/docs: no network, and a warning is an error
docs: $(VENV)/installed-for-docs
	$(VENV)/bin/python -m sphinx -W --keep-going -q -b html docs build/docs

# a reader goes through the pages with clicks and keys, looks at the screen, and takes their pictures; some only:
# make tutorials PAGES="denoise guide"
tutorials: $(VENV)/installed
	$(FRESH) $(if $(shell command -v xvfb-run 2>/dev/null),$(SCREEN)) $(VENV)/bin/python docs/tutorials.py $(PAGES)

# damaged metadata, thousands of times and other ones each time; `make test` has the same few of them
fuzz: $(VENV)/installed-for-tests
	FUZZ=5000 $(VENV)/bin/python -m pytest tests/io/test_fuzz.py --timeout=0

# ruff, mypy and whitespace: .pre-commit-config.yaml
lint: $(VENV)/installed-for-tests
	PATH="$(CURDIR)/$(VENV)/bin:$$PATH" pre-commit run --all-files

format: $(VENV)/installed-for-tests
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf $(VENV) $(CUDA_VENV) .venv-lowest .venv-newest build dist demo.png

# torch first and alone, so that its pinned build is there before anything asks for any
$(VENV)/installed: pyproject.toml constraints.txt scripts/system-libraries
	@test -n "$(PYTHON)" || { echo "Python 3.11 or newer is needed; install it, or say make PYTHON=/path/to/python3"; exit 1; }
	scripts/system-libraries $(PYTHON)
	test -x $(VENV)/bin/pip || $(PYTHON) -m venv $(VENV)
	$(VENV)/bin/python -m pip install -q -c constraints.txt pip torch
	$(VENV)/bin/python -m pip install -q -c constraints.txt --build-constraint constraints.txt -e ".[all]"
	touch $@

$(VENV)/installed-for-tests: $(VENV)/installed
	$(VENV)/bin/python -m pip install -q -c constraints.txt --group dev
	touch $@

$(VENV)/installed-for-docs: $(VENV)/installed
	$(VENV)/bin/python -m pip install -q -c constraints.txt --group docs
	touch $@

$(CUDA_VENV)/installed: pyproject.toml constraints.txt scripts/system-libraries
	scripts/system-libraries $(PYTHON)
	test -x $(CUDA_VENV)/bin/pip || $(PYTHON) -m venv $(CUDA_VENV)
	grep -v '^torch==' constraints.txt > $(CUDA_VENV)/constraints.txt
	$(CUDA_VENV)/bin/python -m pip install -q -c $(CUDA_VENV)/constraints.txt pip "$(CUDA_TORCH)"
	$(CUDA_VENV)/bin/python -m pip install -q -c $(CUDA_VENV)/constraints.txt -e ".[all]" PySide6_Essentials
	touch $@

.venv-lowest/installed .venv-newest/installed: pyproject.toml scripts/lowest
	scripts/system-libraries $(PYTHON)
	test -x $(@D)/bin/pip || $(PYTHON) -m venv $(@D)
	{ $(if $(findstring lowest,$@),$(PYTHON) scripts/lowest $(if $(TORCH),| grep -v '^torch=='),:); echo "$(TORCH)"; } > $(@D)/constraints.txt
	$(@D)/bin/python -m pip install -q --upgrade pip
	$(@D)/bin/python -m pip install -q --upgrade -c $(@D)/constraints.txt -e ".[all]" --group test
	touch $@
