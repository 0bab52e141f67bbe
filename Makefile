# Two commands: `make demo` shows the plugin at work, `make test` checks everything. Both install into .venv first.

VENV := .venv
CUDA_VENV := .venv-cuda
PYTHON ?= $(shell for p in python3 python3.13 python3.12 python3.11; do \
	command -v $$p >/dev/null && $$p -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null && \
	echo $$p && break; done)
SCREEN := xvfb-run -a -s "-screen 0 1400x900x24"
# napari remembers the geometry of its window; here it starts afresh each time
FRESH = NAPARI_CONFIG="$$(mktemp -d)/settings.yaml" NAPARI_ENSURE_PLUGIN_MAIN_THREAD=1

.PHONY: demo test test-cuda-build fuzz lint types format clean

demo: $(VENV)/installed
ifeq ($(DISPLAY)$(WAYLAND_DISPLAY)$(filter Darwin Windows_NT,$(shell uname -s) $(OS)),)
	$(FRESH) $(SCREEN) $(VENV)/bin/python examples/demo.py --close
else
	$(FRESH) $(VENV)/bin/python examples/demo.py
endif

# two processes, one thread each
test: lint types
	OMP_NUM_THREADS=1 $(FRESH) $(if $(shell command -v xvfb-run 2>/dev/null),$(SCREEN)) \
		$(VENV)/bin/python -m pytest -n 2 --dist worksteal

# A window with the torch that Linux gets by default, some 5.5 GB; another one by make test-cuda-build CUDA_TORCH=torch==2.15.0
CUDA_TORCH ?= $(shell $(PYTHON) -c 'import sys; print("torch==2.14.1" if sys.version_info < (3, 12) else "torch")')

test-cuda-build: $(CUDA_VENV)/installed
	$(FRESH) $(SCREEN) $(CUDA_VENV)/bin/python tests/viewer/cuda_build.py

# damaged metadata, thousands of times and other ones each time; `make test` has the same few of them
fuzz: $(VENV)/installed-for-tests
	FUZZ=5000 $(VENV)/bin/python -m pytest tests/test_fuzz.py --timeout=0

lint: $(VENV)/installed-for-tests
	$(VENV)/bin/ruff check .
	$(VENV)/bin/ruff format --check .

types: $(VENV)/installed-for-tests
	$(VENV)/bin/mypy

format: $(VENV)/installed-for-tests
	$(VENV)/bin/ruff check --fix .
	$(VENV)/bin/ruff format .

clean:
	rm -rf $(VENV) $(CUDA_VENV) build dist demo.png

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

$(CUDA_VENV)/installed: pyproject.toml constraints.txt scripts/system-libraries
	scripts/system-libraries $(PYTHON)
	test -x $(CUDA_VENV)/bin/pip || $(PYTHON) -m venv $(CUDA_VENV)
	grep -v '^torch==' constraints.txt > $(CUDA_VENV)/constraints.txt
	$(CUDA_VENV)/bin/python -m pip install -q -c $(CUDA_VENV)/constraints.txt pip "$(CUDA_TORCH)"
	$(CUDA_VENV)/bin/python -m pip install -q -c $(CUDA_VENV)/constraints.txt -e ".[all]" PySide6_Essentials
	touch $@
