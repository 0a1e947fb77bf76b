# Two commands: `make quickstart` and `make test`. Both set up everything they need in .venv first.
PYTHON ?= python3
VENV ?= .venv
BIN = $(VENV)/bin
JOB ?= jobs/digits.toml
TESTERS ?= 5
# of whom most wait, for nodes that are lost and groups that start
SLOW_TESTERS ?= 4
RUNS ?= 20
SEED ?= 0
RESULTS ?= tests/chaos/results.jsonl
BY_FILE = --dist loadfile --no-loadscope-reorder

# some machines forbid it, and then every start of Python compiles torch, ray and us anew
unexport PYTHONDONTWRITEBYTECODE

.DEFAULT_GOAL := help
.PHONY: help quickstart test test-slow chaos check wheel clean

help:  ## this list
	@grep -hE '^[a-z-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 14

quickstart: $(VENV)/.run  ## set up, then the main job on real data, to a report
	$(BIN)/distill run $(JOB)

test: $(VENV)/.dev  ## set up, then the tests (10 to 15 minutes on two cores)
	$(BIN)/python -m pytest -m "not slow" -n $(TESTERS) $(BY_FILE)

# more threads than cores: one that waits for others should sleep, not spin (a tenth of the CPU time of torch's tests)
test test-slow: export OMP_WAIT_POLICY = PASSIVE

# which vectors this CPU has is tried by each process that compiles, in others that load torch: 6 CPU-seconds
test test-slow: export TORCHINDUCTOR_VEC_ISA_OK = 0

test-slow: $(VENV)/.dev  ## the longer tests
	$(BIN)/python -m pytest -m slow -n $(SLOW_TESTERS) $(BY_FILE)

chaos: $(VENV)/.dev  ## RUNS labelling runs under faults that SEED draws; goes on where it was stopped
	$(BIN)/python -m tests.chaos --runs $(RUNS) --seed $(SEED) --results $(RESULTS)

check: $(VENV)/.dev  ## the gates: style, sizes, types, layers, wheel; and that all tests can be collected
	$(MAKE) --jobs=2 types style

.PHONY: types style
types:
	$(BIN)/mypy

# the tests are compiled here, while mypy has the other core; each tester would compile them all again
style: wheel
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/lint-imports
	$(BIN)/python -m pytest --collect-only -qq >$(VENV)/collected || (cat $(VENV)/collected; false)

wheel: $(VENV)/.dev  ## build the wheel; `distill` must be all that it installs
	rm -rf dist
	$(BIN)/pip wheel --quiet --no-deps --wheel-dir dist .
	$(BIN)/python -c "import glob, zipfile; names = {n.split('/')[0] for n in zipfile.ZipFile(*glob.glob('dist/*.whl')).namelist()}; \
	extra = {n for n in names if n != 'distill' and not n.endswith('.dist-info')}; assert not extra, f'the wheel installs {extra} too'"

$(VENV)/.run: pyproject.toml constraints.txt
	@$(PYTHON) -c "import sys; sys.exit(sys.version_info < (3, 10) and 'distill needs Python 3.10 or newer; this is ' + sys.version.split()[0] + '. Run: make PYTHON=python3.11 …')"
	test -x $(BIN)/python || $(PYTHON) -m venv $(VENV)
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[report,sklearn]'
	touch $@

$(VENV)/.dev: $(VENV)/.run
	$(BIN)/pip install --quiet --constraint constraints.txt --editable '.[report,sklearn,vision,text,onnx,privacy,gcs,azure,hf,cluster,mlflow,tensorboard,dev]'
# what our losses are held against; alone, since the torchvision that PyPI has for it does not load beside a torch without CUDA
	$(BIN)/pip install --quiet --constraint constraints.txt --no-deps torchdistill
# what our privacy accounts are held against; alone, since it wants an attrs of 2022
	$(BIN)/pip install --quiet --no-deps dp-accounting==0.6.0 absl-py==2.5.1
	$(BIN)/python tests/torchvision_cpu.py  # says why
	touch $@

clean:  ## forget the environment and what the jobs made
	rm -rf $(VENV) runs dist
