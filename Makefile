# One command for each job; every target sets up .venv by itself from the lock. Needs make, Python 3.11 or
# newer and, for a first set-up, a network. Paths are relative, so a checkout path may contain spaces; tools
# run as `python -m NAME`, because the scripts of a virtual environment do not stand such a path.

PYTHON  ?= python3
PROFILE ?= embedded
SEEDS   ?=
SPLITS  ?=
JOBS    ?= all
FOLDER  ?= data/visdrone
SETS    ?= train val test-dev
ARGS    ?=
QUICK   ?=
FIRST   ?=
SECOND  ?=
PLACE   ?= place
PARTIAL ?=

VENV := .venv/bin/python

# `python -m lib.NAME` and `import lib` in the notebooks find this checkout, not another one.
export PYTHONPATH := $(CURDIR)

# Where the environment forbids Python to keep compiled modules, as containers often do, each notebook and
# each test that starts Python would compile PyTorch, pandas and the others anew: 12 s instead of 6.
unexport PYTHONDONTWRITEBYTECODE

# The kernel `python3` is the one of .venv; a person's own kernels, start-up scripts and caches stay out of it.
OWN = env -u JUPYTER_PATH JUPYTER_PREFER_ENV_PATH=1 JUPYTER_RUNTIME_DIR="$(CURDIR)/.cache/jupyter" \
      IPYTHONDIR="$(CURDIR)/.cache/ipython" XDG_CACHE_HOME="$(CURDIR)/.cache" MPLBACKEND=

.PHONY: help reproduce improve panorama test lint notebook data publish verify row bench lock clean

help: ## this list
	@echo "make TARGET [NAME=VALUE ...]"
	@sed -n 's/^\([a-z]*\):[^#]*## \(.*\)/  \1|\2/p' Makefile | awk -F'|' '{printf "%-12s %s\n", $$1, $$2}'
	@echo "PROFILE=embedded$$(printf '|%s' $(notdir $(wildcard params/*)))  JOBS=all|N  PYTHON=python3"
	@echo "SEEDS=\"1 2 3\"  SPLITS=\"object sequence\" (empty: the profile's own)"
	@echo "make row ARM=vae_transfer SEED=0 [SPLIT=sequence] [N_WINTER=50] [N_SYNTHETIC=1000]"

# Arguments of the workflow, with what a person may choose.
WORKFLOW = --cores "$(JOBS)" --quiet host progress rules --nolock --rerun-incomplete --rerun-triggers mtime \
           $(ARGS) --config profile="$(PROFILE)" seeds="$(SEEDS)" splits="$(SPLITS)"

# Notebooks that run side by side share a GPU where there is one. `exec` below: who stops make stops them.
SHARED = $(if $(filter 1,$(JOBS)),,$(VENV) -m lib.gpu_sharing)

reproduce: .venv/.installed ## the main job: data, training, generation, retraining, tables and figures of PROFILE
	@exec $(OWN) $(SHARED) $(VENV) -m snakemake $(WORKFLOW)
	@$(OWN) $(VENV) -m lib.report "$(PROFILE)"

improve: .venv/.installed ## the automatic loop: weak classes of PROFILE found, new images made, kept if better (notebook 08)
	@exec $(OWN) $(SHARED) $(VENV) -m snakemake improve $(WORKFLOW)

panorama: .venv/.installed ## two flights of yours compared: FIRST and SECOND (folders or pictures), VEHICLE_PX, PLACE
	@$(OWN) $(VENV) -m lib.compare_flights "$(FIRST)" "$(SECOND)" "$(VEHICLE_PX)" --place "$(PLACE)" \
	  --profile "$(PROFILE)" $(if $(ARM),--arm "$(ARM)") $(if $(filter-out 0,$(PARTIAL)),--partial) $(ARGS)

test: lint ## lint and all tests
	@$(OWN) $(VENV) -m pytest -n auto --maxprocesses 4 --dist loadfile --no-loadscope-reorder $(ARGS)

lint: .venv/.installed ## ruff over code and notebooks
	@$(VENV) -m ruff check --quiet --cache-dir .cache/ruff .

notebook: .venv/.installed ## JupyterLab in notebooks/
	@$(OWN) $(VENV) -m jupyterlab --notebook-dir notebooks $(ARGS)

data: .venv/.installed ## download VisDrone-DET into FOLDER (1.9 GB; SETS=val: 80 MB); resumes
	@$(VENV) -m lib.download "$(FOLDER)" --sets $(SETS) $(ARGS)

publish: .venv/.installed ## refresh the committed figures, numbers and notebook outputs from the run of PROFILE
	@$(OWN) $(VENV) -m lib.publish "$(PROFILE)" $(ARGS)

verify: .venv/.installed ## compare the run of PROFILE with the committed numbers
	@$(OWN) $(VENV) -m lib.verify "$(PROFILE)" $(ARGS)

row: .venv/.installed ## recompute one row from scratch: PROFILE, ARM, SEED, perhaps SPLIT, N_WINTER, N_SYNTHETIC
	@$(OWN) $(VENV) -m lib.row "$(PROFILE)" "$(ARM)" "$(or $(SEED),0)" $(if $(SPLIT),--split $(SPLIT)) \
	  $(if $(N_WINTER),--n-winter $(N_WINTER)) $(if $(N_SYNTHETIC),--n-synthetic $(N_SYNTHETIC)) $(ARGS)

bench: .venv/.installed ## speed beside eager PyTorch, Keras and the usual recipe -> figures/bench.json; QUICK=1: shorter
	@$(MAKE) --no-print-directory .venv-bench/.installed || \
	  echo "make bench: no .venv-bench; what needs Keras or split-folders stays empty in the table" >&2
	@$(OWN) $(VENV) -m benchmarks.bench $(if $(filter-out 0,$(QUICK)),--quick) $(ARGS)

COMPILE = $(VENV) -m uv pip compile --quiet --upgrade --universal --generate-hashes --no-emit-index-url \
          --no-annotate --no-header --python-version 3.11

lock: .venv/.installed ## renew requirements.txt, the lock of pyproject.toml, and that of benchmarks/
	@$(COMPILE) pyproject.toml --output-file .venv/lock.txt
	@{ echo "# The lock of pyproject.toml: Linux (x86-64, arm64), macOS 14 (Apple silicon), Python 3.11 or newer."; \
	   echo "# Renew it with: make lock"; cat .venv/lock.txt; } > .venv/lock.new
	@mv .venv/lock.new requirements.txt
	@$(COMPILE) benchmarks/requirements.in --output-file .venv/bench.txt
	@{ echo "# The lock of benchmarks/requirements.in, for the same machines. Renew it with: make lock"; \
	   cat .venv/bench.txt; } > .venv/lock.new
	@mv .venv/lock.new benchmarks/requirements.txt
	@echo "requirements.txt and benchmarks/requirements.txt renewed; the next target installs them"

clean: ## remove .venv, .venv-bench, caches and the run of PROFILE; data and the runs of other profiles stay
	@case "$(PROFILE)" in ""|.*|*/*) echo "make clean: PROFILE is '$(PROFILE)', expected a profile's name" >&2; exit 2;; esac
	rm -rf .venv .venv-bench .cache .snakemake .pytest_cache .ruff_cache "runs/$(PROFILE)"
	find . -name __pycache__ -type d -not -path "./data/*" -prune -exec rm -rf {} +

# Its progress is for a terminal alone.
INSTALL = if [ -t 2 ]; then quiet=; else quiet=--quiet; fi; \
          PYTHONPATH= UV_HTTP_TIMEOUT="$${UV_HTTP_TIMEOUT:-300}" $(VENV) -m uv pip install $$quiet --require-hashes

# The stamp is written last: an interrupted set-up is taken up again. uv comes at the version and with the
# hashes that the lock names.
.venv/.installed: requirements.txt
	@"$(PYTHON)" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null || { \
	  echo "$(PYTHON) is $$("$(PYTHON)" -V 2>&1 || true); Python 3.11 or newer is needed: make PYTHON=python3.12 ..." >&2; \
	  exit 2; }
	@echo "Setting up .venv (a minute when the packages are cached, longer when they are downloaded) ..." >&2
	@$(VENV) -c 'import pip' 2>/dev/null || "$(PYTHON)" -m venv --clear .venv || { \
	  echo "$(PYTHON) cannot make a virtual environment; Debian and Ubuntu: apt install python3-venv" >&2; exit 2; }
	@awk '/^[^ ]/ {keep = /^uv==/} keep' requirements.txt > .venv/uv.txt
	@PYTHONPATH= $(VENV) -m pip install -qq --disable-pip-version-check --require-hashes -r .venv/uv.txt
	@$(INSTALL) --python $(VENV) -r requirements.txt
	@touch .venv/.installed

# TensorFlow and what it needs stay out of .venv: nothing but `make bench` uses them.
.venv-bench/.installed: benchmarks/requirements.txt | .venv/.installed
	@echo "Setting up .venv-bench (TensorFlow, for the comparison only) ..." >&2
	@$(VENV) -m uv venv --quiet --allow-existing --python $(VENV) .venv-bench
	@$(INSTALL) --python .venv-bench/bin/python -r benchmarks/requirements.txt
	@touch .venv-bench/.installed
