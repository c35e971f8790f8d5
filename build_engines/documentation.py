"""docs/engine-builds.md, made from the catalog."""

from pathlib import Path

from build_engines.plan.capacity import CapacityPlan, describe, make_plan
from build_engines.plan.gpus import GIB
from build_engines.quantize.packages import MODELOPT_VERSION, pinned
from build_engines.tensorrt_llm.command import trtllm_build_command
from catalog import TENSORRT_LLM_VERSION, EnginePlan, ModelEntry, load_catalog

TESTED = (pinned("nvidia-modelopt"), pinned("transformers"))
"""Versions that the tests run with."""

INTRODUCTION = f"""\
# Engine builds

The command lines that make the catalog's engines with TensorRT-LLM {TENSORRT_LLM_VERSION}, and what
the engines need and hold. `make generate` makes this page from `catalog/*.toml`; do not edit.

`python -m build_engines build MODEL` runs `trtllm-build` after it has checked the machine and the
checkpoint, with a worker a GPU. Build on the kind of GPU that will serve and in the container that
will serve: an engine runs nowhere else. `convert` splits a Hugging Face checkpoint for the ranks;
`trtllm-build` itself makes int8 and int4 weights from it.

`convert --quantization fp8` and `--quantization int4_awq` have NVIDIA ModelOpt calibrate the
weights, on GPUs where there are any. `--kv-cache-dtype fp8` calibrates the KV cache too, as the
catalog's FP8 plans do; `--kv-cache-dtype auto` leaves it 16-bit. The text is a few pages that come
with the project (`build_engines/quantize/calibration.txt`); for production give prompts and replies
like your own with `--calibration FILE`. `verify DIR --against CHECKPOINT` says how far the
quantized weights are from the source. ModelOpt quantizes Llama and Mistral, not StableLM.

`--gather-context-logits`, given to every step, makes an engine that the executor can ask for log
probabilities of prompts, at the price of memory for a step's logits.

| TensorRT-LLM | asks for ModelOpt | with transformers | tested here |
|---|---|---|---|
| {TENSORRT_LLM_VERSION} | ~= {MODELOPT_VERSION}.0 | 4.57 | {" with transformers ".join(TESTED)} |

TensorRT-LLM's container has the fitting ModelOpt. Elsewhere `make modelopt` installs the pinned one
into `.run/modelopt`, apart from the project's newer transformers; it needs Python 3.11 or 3.12.
ModelOpt 0.39 and 0.41 export the same with transformers before 4.54; 0.33 cannot be imported beside
today's PyTorch. To test another release, change its pin in
`build_engines/quantize/requirements.txt` and run `pytest tests/build_engines/quantize`, which
compares its export with our conversion bit for bit.

All running requests share the KV tokens, prompt and reply; the column after them counts requests
of 1,000 tokens.
"""


def render_document() -> str:
    """Return the whole page."""
    models = load_catalog().values()
    sections = [_section(model) for model in models]
    return "\n".join([INTRODUCTION, _summary(list(models)), *sections])


def _summary(models: list[ModelEntry]) -> str:
    lines = [
        "| model | on | weights a GPU | KV tokens | requests | engine | host memory a worker |",
        "|---|---|---|---|---|---|---|",
    ]
    lines += [
        _summary_row(make_plan(model, plan)) for model in models for plan in model.engine_plans
    ]
    return "\n".join(lines) + "\n"


def _summary_row(plan: CapacityPlan) -> str:
    cells = (
        plan.model,
        describe(plan.engine),
        f"{plan.rank_weight_bytes / GIB:.2f} GiB",
        f"{plan.kv_tokens:,}",
        f"{plan.concurrent_typical_requests:,}",
        f"{plan.engine_bytes / GIB:.1f} GiB",
        f"{plan.host_bytes_per_worker / GIB:.0f} GiB",
    )
    return f"| {' | '.join(cells)} |"


def _section(model: ModelEntry) -> str:
    builds = [_build(model, plan) for plan in model.engine_plans]
    return "\n".join([f"## {model.title}", "", *builds])


def _build(model: ModelEntry, plan: EnginePlan) -> str:
    source = Path("checkpoints", model.name)
    name = f"{model.name}-{plan.gpu.lower()}-tp{plan.tp_size}-{plan.quantization}"
    checkpoint, engine = Path("converted", name), Path("engines", name)
    convert = [
        *("python3", "-m", "build_engines", "convert", model.name),
        *("--checkpoint", str(source), "--output", str(checkpoint)),
        *("--gpu", plan.gpu, "--tp", str(plan.tp_size), "--dtype", plan.dtype),
        *("--quantization", plan.quantization, "--kv-cache-dtype", plan.kv_cache_dtype),
    ]
    build = trtllm_build_command(model, plan, checkpoint, engine, workers=plan.tp_size)
    return "\n".join(
        [f"### {describe(plan)}", "", "```sh", _shell(convert), _shell(build), "```", ""]
    )


def _shell(command: list[str]) -> str:
    """Write a command a flag a line; no value of ours needs quotes."""
    return " ".join(command).replace(" --", " \\\n  --")
