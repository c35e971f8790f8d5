PYTHON ?= python3
HOST ?= 127.0.0.1
PORT ?= 8000
TRITON_GRPC_PORT ?= 8001
TRITON_HTTP_PORT ?= 8010
TRITON_METRICS_PORT ?= 8002
MODEL ?=
CHECKPOINT ?=
REPOSITORY ?=
DTYPE ?= auto
# With CHECKPOINT: processes that share the model; the tokenizer of a converted checkpoint.
TP ?=
TOKENIZER ?=
# For plan and build: --gpu, --tp, --quantization, --dtype, --context.
ENGINE_OPTIONS ?=
# For bench-serving: the threads of torch in the Truss; by default as many as torch takes.
TRUSS_THREADS ?=

# Where there is no GPU: the address of an index of PyTorch's CPU wheels, which saves 4 GB of CUDA.
TORCH_INDEX ?=

ifneq ($(wildcard /opt/tritonserver/bin/tritonserver),)
# In the container: the environment of its TensorRT-LLM, whose versions stay as they are, as in
# docker/serving.Dockerfile. Where the chat page would need others, the service does without it.
VENV ?= /opt/venv-tritonserver
CONSTRAINTS = $(INSTALLED).txt
PREPARE = $(BIN)/python docker/constraints.py constraints.txt > $(CONSTRAINTS)
EXTRAS = server,models,build,chat,format
FINISH = true
else
VENV ?= .venv
CONSTRAINTS = constraints.txt
PREPARE = $(PYTHON) -m venv $(VENV)
EXTRAS = server,models,build,embedded,chat,format
# By itself: what it names besides is for GPUs.
FINISH = $(PIP_INSTALL) --no-deps xgrammar
endif
BIN = $(VENV)/bin
PIP_INSTALL = $(BIN)/pip install --quiet --disable-pip-version-check --constraint $(CONSTRAINTS) \
	$(if $(TORCH_INDEX),--extra-index-url '$(TORCH_INDEX)')
# What serves; what checks it; what renders the Helm chart.
INSTALLED = $(VENV)/.aeolus-installed
DEVELOPING = $(VENV)/.aeolus-dev-installed
CHARTING = $(VENV)/.aeolus-chart-installed

.DEFAULT_GOAL := help
.PHONY: help install serve check test test-all test-executor lint format generate plan modelopt build
.PHONY: bench bench-engine gpu-check bench-serving bench-convert bench-guided bench-text soak bench-cancel hold-streams fleet fuzz
.PHONY: chart images clean

help: ## List the targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  make %-14s %s\n", $$1, $$2 }' $(MAKEFILE_LIST)

install: $(INSTALLED) ## Install what serves into $(VENV); other targets add what they need

$(INSTALLED): pyproject.toml client/pyproject.toml constraints.txt
	@echo "installing into $(VENV); the first time takes a minute or two"
	@$(PYTHON) -c 'import sys; sys.exit(not (3, 11) <= sys.version_info[:2] <= (3, 13))' \
		|| { echo "$(PYTHON) is not Python 3.11 to 3.13; choose one with PYTHON=..." >&2; exit 1; }
	@$(PREPARE)
	@$(PIP_INSTALL) --editable 'client[cli]' --editable '.[$(EXTRAS)]'
	@$(FINISH)
	@touch $@

$(DEVELOPING): $(INSTALLED)
	@$(PIP_INSTALL) --editable '.[$(EXTRAS),dev]'
	@touch $@

$(CHARTING): $(DEVELOPING)
	@$(PIP_INSTALL) --editable '.[chart]'
	@touch $@

serve: $(INSTALLED) ## Serve the demo; or MODEL=name with CHECKPOINT=dir or REPOSITORY=dir
	@exec $(BIN)/python -m launcher --host $(HOST) --port $(PORT) \
		--triton-grpc-port $(TRITON_GRPC_PORT) --triton-http-port $(TRITON_HTTP_PORT) \
		--triton-metrics-port $(TRITON_METRICS_PORT) \
		$(if $(MODEL),--model '$(MODEL)') $(if $(CHECKPOINT),--checkpoint '$(CHECKPOINT)') \
		$(if $(REPOSITORY),--repository '$(REPOSITORY)') \
		$(if $(TP),--tp '$(TP)') $(if $(TOKENIZER),--tokenizer '$(TOKENIZER)') --dtype $(DTYPE)

check: lint ## Run the linters and every test that needs neither a server nor minutes
	@$(BIN)/python -m pytest -q -n 2 -m "not server and not slow"

test: lint $(CHARTING) ## Run the linters and the tests, those on a real tritonserver included
	@$(BIN)/python -m pytest -n 2 --dist loadfile -m "not extended"

test-all: lint $(CHARTING) ## Run every test: twenty minutes more than `make test`
	@$(BIN)/python -m pytest -n 2 --dist loadfile

.PHONY: lm-eval
LM_EVAL = .venv-lm-eval
LM_EVAL_TEST = tests/shim/families/openai/test_lm_eval.py
LM_EVAL_PINS = tests/shim/families/openai/lm_eval_tasks/requirements.txt

lm-eval: $(LM_EVAL)/.installed ## Score the service by lm-evaluation-harness, as it scores the checkpoint
	@$(BIN)/python -m pytest --timeout 0 $(LM_EVAL_TEST)

# An environment of its own, whose NumPy is newer; torch and transformers are those of $(VENV).
$(LM_EVAL)/.installed: $(LM_EVAL_PINS) $(DEVELOPING)
	@$(BIN)/python -m venv $(LM_EVAL)
	@$(BIN)/python -c 'import sys; print(*(each for each in sys.path if "-packages" in each), sep="\n")' \
		> $$(echo $(LM_EVAL)/lib/python*/site-packages)/shared.pth
	@$(LM_EVAL)/bin/pip install --quiet --disable-pip-version-check --requirement $(LM_EVAL_PINS)
	@touch $@

test-executor: $(DEVELOPING) ## Rehearse TensorRT-LLM's executor: the suites of the shared server on a stand-in
	@$(BIN)/python -m pytest --runtime executor tests/executor_engine tests/client tests/nvidia_clients \
		tests/reference_engine/test_engine_contract.py tests/end_to_end tests/shim/parameters \
		tests/shim/families tests/shim/generation/test_replicas.py tests/shim/http tests/shim/middleware

lint: $(DEVELOPING) ## Check format, style and types
	@$(BIN)/ruff format --check --quiet .
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy

generate: $(DEVELOPING) ## Make the files that come from the contract, the catalog and the settings
	@PYTHONPATH=$(CURDIR) $(BIN)/python -m scripts.generate

format: $(DEVELOPING) ## Format the code and correct what can be corrected
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

plan: $(INSTALLED) ## Compute what MODEL's engine needs: memory, capacity, disk
	@$(BIN)/python -m build_engines plan $(MODEL) $(ENGINE_OPTIONS)

modelopt: $(INSTALLED) ## Install NVIDIA ModelOpt, with which fp8 and int4_awq are converted
	@$(BIN)/python -m build_engines.quantize.packages

CHECKPOINT_DIR = $(or $(CHECKPOINT),.run/checkpoints/$(MODEL))
build: $(INSTALLED) ## In the container: download MODEL, convert it, build its engine, assemble
	@$(if $(CHECKPOINT),,$(BIN)/python -m build_engines fetch $(MODEL) --output $(CHECKPOINT_DIR))
	@$(BIN)/python -m build_engines convert $(MODEL) --checkpoint $(CHECKPOINT_DIR) \
		--output .run/converted/$(MODEL) $(ENGINE_OPTIONS)
	@test -d .run/engines/$(MODEL) || $(BIN)/python -m build_engines build $(MODEL) \
		--checkpoint .run/converted/$(MODEL) --output .run/engines/$(MODEL) $(ENGINE_OPTIONS)
	@rm -rf .run/deployments/$(MODEL)
	@$(BIN)/python -m build_engines assemble $(MODEL) --engine .run/engines/$(MODEL) \
		--checkpoint $(CHECKPOINT_DIR) --output .run/deployments/$(MODEL) $(ENGINE_OPTIONS)

bench: $(DEVELOPING) ## Measure shim, ensemble and engine at concurrency 1, 16, 64, 256
	@$(BIN)/python -m scripts.bench.stages

bench-cancel: $(DEVELOPING) ## Cancel 200 requests under load; measure how soon the engine stops
	@$(BIN)/python -m scripts.bench.cancel

hold-streams: $(DEVELOPING) ## Hold 1,000 slow streams for a minute; measure what they cost
	@$(BIN)/python -m scripts.bench.hold_streams

fuzz: $(DEVELOPING) ## Send 5,000 requests of every kind; none may fail or leak anything
	@$(BIN)/python -m scripts.bench.fuzz

fleet: $(DEVELOPING) ## Load five Tritons behind one shim for a minute and kill one; then three replicas
	@FLEET_SECONDS=60 $(BIN)/python -m pytest -q tests/shim/generation/test_fleet.py

bench-engine: $(DEVELOPING) ## Compare the reference engine with generate, continuous batching, OpenVINO, vLLM
	@$(BIN)/python -m scripts.bench.engine

gpu-check: $(DEVELOPING) ## Check and measure the reference engine on this machine's GPU, into gpu_check.json
	@PYTHONPATH=$(CURDIR):$(CURDIR)/client:$(CURDIR)/contract $(BIN)/python -m scripts.bench.gpu_check \
		--output gpu_check.json

bench-serving: $(DEVELOPING) ## Compare with Baseten's Truss server, end to end
	@$(BIN)/python -m scripts.bench.serving $(if $(TRUSS_THREADS),--truss-threads $(TRUSS_THREADS))

bench-convert: $(DEVELOPING) ## Measure memory and speed of a conversion against cp
	@$(BIN)/python -m scripts.bench.convert

bench-guided: $(DEVELOPING) ## Measure what a guided request costs the others at 16 streams
	@$(BIN)/python -m scripts.bench.guided

bench-text: $(DEVELOPING) ## Measure what a token costs on its way to the client, against NVIDIA's way
	@PYTHONPATH=$(CURDIR):$(CURDIR)/tests $(BIN)/python -m scripts.bench.text

chart: $(CHARTING) ## Write the Helm chart's catalog and the renders of its examples
	@$(BIN)/python -m scripts.chart

images: $(DEVELOPING) ## As root: build the images with buildah, and serve from them
	@$(BIN)/python -m pytest -q -s -m images --timeout 0 tests/docker

soak: $(DEVELOPING) ## Ten minutes of random traffic, every answer compared with a lone run
	@$(BIN)/python -m scripts.bench.soak

clean: ## Remove the environment and everything that was made
	rm -rf $(VENV) .run .pytest_cache .mypy_cache .ruff_cache .hypothesis *.egg-info
	find . -name __pycache__ -type d -prune -exec rm -rf {} +
