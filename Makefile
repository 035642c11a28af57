# The commands of the course. `make` alone explains them. The work is done by tools/*.py, which run on Windows as well
# (README.md says how). Every target that needs the environment .venv makes it first; when it is complete that costs
# no time and needs no network.

.PHONY: help lab test test-slow course bench results clean

# A Python from 3.10 on: the first of these that works, or the one that is named, as in: make lab PYTHON=python3.12
PYTHON ?=
BROWSER ?=
PORT ?=

VENV_PYTHON := .venv/$(if $(filter Windows_NT,$(OS)),Scripts,bin)/python

# $(call environment,EXTRAS): bring .venv up to date, with the extras named
define environment
@for python in $(or $(PYTHON),python3 python3.13 python3.12 python3.11 python3.10 python); do \
	if "$$python" -c 'import sys; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then \
		exec "$$python" tools/setup_env.py $(1); \
	fi; \
done; \
echo "minimm: $(if $(PYTHON),$(PYTHON) is not a Python 3.10 or newer,no Python 3.10 or newer was found). Install one" \
	"(https://www.python.org/downloads/) or name it, as in: make lab PYTHON=/path/to/python3" >&2; \
exit 1
endef

help:
	@echo "minimm: multimodal learning from scratch"
	@echo
	@echo "  make lab        open the course in JupyterLab; the first time installs it into .venv"
	@echo "                  options: PORT=8899  BROWSER=no  PYTHON=python3.12"
	@echo "  make test       run the tests and every notebook, and tell how long each notebook took"
	@echo "  make test-slow  run the tests that take long"
	@echo "  make course     execute all notebooks and write them as web pages: build/course/index.html"
	@echo "  make bench      compare minimm with other libraries: quality, speed, memory"
	@echo "  make results    rebuild the results in data/results, run by run"
	@echo "                  option: NLVR=FOLDER, where that corpus is (data/nlvr.md), for its results as well"
	@echo "  make clean      delete what the other targets left behind (not .venv, not downloads)"

lab:
	$(call environment)
	@$(VENV_PYTHON) tools/lab.py $(if $(PORT),--port '$(PORT)') $(if $(filter no,$(BROWSER)),--no-browser)

test:
	$(call environment,test)
	@$(VENV_PYTHON) -m pytest tests notebooks

test-slow:
	$(call environment,test)
	@$(VENV_PYTHON) -m pytest tests -m "slow or browser"

course:
	$(call environment,test)
	@$(VENV_PYTHON) tools/build_course.py

bench:
	$(call environment,bench)
	@$(VENV_PYTHON) -m benchmarks

results:
	$(call environment)
	@$(VENV_PYTHON) -m minimm.training.results $(if $(NLVR),--nlvr '$(NLVR)')

clean:
	@rm -rf build .pytest_cache .hypothesis *.egg-info
	@find . -path ./.venv -prune -o -path ./.git -prune -o \
		\( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -exec rm -rf {} +
	@echo "Clean. To start afresh, delete by hand: .venv (the environment), data/cache (downloads)."
