# Frugal AI Lab. `make` lists what there is. Needs Python 3.11 or newer, git and make; on Windows use environment.yml.
# Every path is relative and .venv's own scripts are never called directly, so folders with spaces are fine.

PYTHON ?=
TORCH ?= cpu
LAB_ARGS ?=
PYTEST_ARGS ?=
REPO ?=
EXERCISES ?= exercises
SUBMISSIONS ?=
GRADES ?= grades.csv
GRADE_ARGS ?=
PY := .venv/bin/python
PIP := $(PY) -m pip --disable-pip-version-check
# Compiling every file at once takes longer than all the rest; Python compiles what is used when it is first used
# and keeps that, unless a variable forbids it. Below, -qq leaves pip's errors and hides its warnings.
INSTALL := $(PIP) install --no-compile
unexport PYTHONDONTWRITEBYTECODE
CPU_INDEX := https://download.pytorch.org/whl/cpu
FIRST := notebooks/00_start_here.ipynb
LESSON ?=
# The tests side by side: two workers, or one on a machine with one core. Each may need two gigabytes, a lesson included;
# PYTEST_ARGS="--maxprocesses 4" takes four. A file of tests stays on one worker, and so does a lesson. In this order the
# lessons come last, which are short enough for the two workers to end together.
WORKERS := -n logical --maxprocesses 2 --dist loadfile --no-loadscope-reorder
export REPO EXERCISES SUBMISSIONS GRADES LESSON

.PHONY: help lab test check notebooks slides grade bench links clean author whole venv torch install-lab install-test install-bench
.NOTPARALLEL:
.DEFAULT_GOAL := help

help:
	@echo 'make lab                     make .venv if needed, install, open JupyterLab on the first lesson'
	@echo 'make test                    the same, and run every test that CI runs (a quarter of an hour on two cores)'
	@echo 'make check                   style and the quick tests only, for daily work (a minute or two)'
	@echo 'make notebooks               rebuild the lessons whose source changed: notebooks/source/*.py to .ipynb'
	@echo 'make slides LESSON=07        slides of a lesson, one page that needs no network: build/slides/07_....html'
	@echo 'make grade SUBMISSIONS=path  grade what a class handed in: a folder, or a zip from Moodle or Canvas'
	@echo 'make bench                   run the benchmarks; their tables go to benchmarks/results/'
	@echo 'make links REPO=owner/name   point every badge, link and setup cell at your copy of the course'
	@echo 'make clean                   remove .venv, caches and build leftovers; notebooks and your ledger stay'
	@echo
	@echo 'TORCH=default   take the default build of torch, with GPU support (big), not the CPU build'
	@echo 'PYTHON=path     the Python that .venv is made with'
	@echo 'LAB_ARGS=...    handed to JupyterLab, for example LAB_ARGS="--no-browser --port 8890"'
	@echo 'EXERCISES=path  what to grade (all exercises); GRADES=file: where to (grades.csv); GRADE_ARGS="--only Ada"'
	@echo 'PYTEST_ARGS=... handed to pytest, for example PYTEST_ARGS="-k energy", or "-n 0" for one test at a time'

lab: install-lab
	@test -f $(FIRST) || { echo '$(FIRST) is not there: `make notebooks` builds it from its source.'; exit 1; }
	@echo 'lab: opening JupyterLab on $(FIRST) (stop it with Ctrl-C)'
	@root=; if [ "$$(id -u)" = 0 ]; then root=--allow-root; fi; \
	exec $(PY) -m jupyterlab $$root --ServerApp.root_dir=. --LabApp.default_url=/lab/tree/$(FIRST) $(LAB_ARGS)

test: install-test
	@echo 'test: running everything that CI runs'
	@$(PY) -m pytest $(WORKERS) $(PYTEST_ARGS)

check: whole install-test
	@echo 'check: style, then the quick tests'
	@$(PY) -m ruff check .
	@$(PY) -m pytest tests -m 'not slow' $(WORKERS) $(PYTEST_ARGS)

whole:
	@test -d tests -a -d benchmarks || { echo "make check and make bench belong to the author's copy of the course;" \
	  '`make test` runs every lesson here.'; exit 1; }

# Sources, and the commands that work on them, are not in the copy that a class gets.
author:
	@test -d course_lib/classroom || { echo "make notebooks, make slides, make grade and make links belong to the author's copy;" \
	  'this copy has no sources.'; exit 1; }

notebooks: author install-lab
	@echo 'notebooks: building the lessons whose source changed'
	@$(PY) -m course_lib.cli build

slides: author install-lab
	@test -n "$$LESSON" || { echo 'slides: say of which lesson, for example `make slides LESSON=07`.'; exit 1; }
	@$(PY) -m course_lib.classroom.slides "$$LESSON"

grade: author install-lab
	@test -n "$$SUBMISSIONS" || { echo 'grade: say what was handed in, for example `make grade SUBMISSIONS=class.zip`.'; exit 1; }
	@$(PY) -m course_lib.cli grade "$$EXERCISES" "$$SUBMISSIONS" -o "$$GRADES" $(GRADE_ARGS)

bench: whole install-bench
	@ls benchmarks/*.py >/dev/null 2>&1 || { echo 'benchmarks/ holds no benchmark yet: nothing was run.'; exit 1; }
	@for file in benchmarks/*.py; do echo "bench: $$file"; $(PY) "$$file" || exit 1; done

links: author install-lab
	@test -n "$$REPO" || { echo 'links: say which repository, for example `make links REPO=owner/name`.'; exit 1; }
	@$(PY) -m course_lib.cli links "$$REPO"

clean:
	@echo 'clean: removing .venv, caches and build leftovers; notebooks and your ledger stay'
	@rm -rf .venv build dist *.egg-info .pytest_cache .ruff_cache
	@find course_lib tests notebooks exercises benchmarks \
	  \( -name __pycache__ -o -name .ipynb_checkpoints \) -type d -prune -exec rm -rf {} +

# --- the environment: venv, then torch, then everything else -----------------------------------------------------

venv:
	@if [ -e $(PY) ] && $(PY) -c 'import pip' 2>/dev/null; then \
	  $(PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' && exit 0; \
	  echo "The .venv here was made with an older Python than 3.11: run make clean, then make again."; exit 1; \
	fi; \
	found=; for name in $(if $(PYTHON),"$(PYTHON)",python3 python3.14 python3.13 python3.12 python3.11 python); do \
	  if "$$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then found=$$name; break; fi; \
	done; \
	if [ -z "$$found" ]; then \
	  old=$$($(if $(PYTHON),"$(PYTHON)",python3) -V 2>&1) || old='no Python'; \
	  echo "Frugal AI Lab needs Python 3.11 or newer and found $$old: install a newer one and say" \
	    "make lab PYTHON=/path/to/python3, or use the conda line in README.md."; exit 1; \
	fi; \
	if ! "$$found" -c 'import venv, ensurepip' 2>/dev/null; then \
	  echo "$$("$$found" -V) is here but its venv module is not: install it" \
	    "(on Debian and Ubuntu: sudo apt-get install python3-venv) and run make again."; exit 1; \
	fi; \
	echo "venv: making .venv with $$("$$found" -V) and a current pip (the bundled one can be three times slower)"; \
	"$$found" -m venv --clear .venv && $(INSTALL) -qq -c constraints.txt --upgrade pip \
	  || { test -e $(PY) && echo 'venv: keeping the bundled pip'; }

# A pinned torch that is there already is kept, whichever its build, unless TORCH=default asks to leave the CPU build.
torch: venv
	@want=$$(sed -n 's/^torch==//p' constraints.txt); \
	have=$$($(PY) -c 'import importlib.metadata as m; print(m.version("torch"))' 2>/dev/null); \
	case "$(TORCH):$$have" in \
	  default:"$$want"+cpu) $(PIP) uninstall -q -y torch;; \
	  *:"$$want"|*:"$$want"+*) exit 0;; \
	esac; \
	if [ "$(TORCH)" = cpu ]; then \
	  echo "torch: taking the CPU build of torch $$want (one try)"; \
	  $(INSTALL) --no-deps --retries 0 --timeout 5 --index-url $(CPU_INDEX) "torch==$$want" 2>/dev/null \
	    && exit 0; \
	  echo "torch: PyTorch's CPU index did not answer; taking the default build, which may be bigger"; \
	else \
	  echo "torch: taking the default build of torch $$want"; \
	fi; \
	$(INSTALL) -c constraints.txt "torch==$$want"

# JupyterLab's question whether it may fetch news would cover the lesson; who wants the news changes it in Settings.
SETTINGS := .venv/share/jupyter/lab/settings
NO_NEWS := {"@jupyterlab/apputils-extension:notification": {"fetchNews": "false"}}

# The stamp holds what was installed, from which files, in which folder. Contents, not file times, which are
# arbitrary in a fresh clone. What `make test` installs is enough for `make lab`, too.
install-lab: EXTRAS := lab,classroom,deploy
install-test: EXTRAS := lab,classroom,deploy,cluster,test
install-bench: EXTRAS := lab,classroom,deploy,cluster,test,bench
install-lab install-test install-bench: torch
	@file=$(SETTINGS)/overrides.json; test -f $$file || { mkdir -p $(SETTINGS) && echo '$(NO_NEWS)' > $$file; }
	@mark="$$(cat pyproject.toml constraints.txt | cksum) in $$(pwd -P):"; \
	case "$$(cat .venv/installed 2>/dev/null)" in "$$mark $(EXTRAS)"|"$$mark $(EXTRAS),"*) exit 0;; esac; \
	echo 'install: the course and its packages, in the versions of constraints.txt (a minute or two)'; \
	$(INSTALL) -qq -c constraints.txt -e '.[$(EXTRAS)]' || { echo 'install: pip did not get through. To see all it says:' \
	  "$(PIP) install -c constraints.txt -e '.[$(EXTRAS)]'"; exit 1; }; \
	echo "$$mark $(EXTRAS)" > .venv/installed
