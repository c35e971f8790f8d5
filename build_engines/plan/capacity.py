"""What an engine needs and holds, computed before anything is built."""

from collections.abc import Iterator
from itertools import product
from typing import Any, get_args

from pydantic import BaseModel, ConfigDict, computed_field

from build_engines.plan import memory
from build_engines.plan.gpus import GIB, GPUS
from catalog import EnginePlan, ModelEntry, Shape
from catalog.schema import CALIBRATED, EngineDtype, GpuName, KVCacheDtype, Quantization

TYPICAL_REQUEST_TOKENS = 1000
"""Prompt and reply of the request that concurrency is counted in."""
MAX_SUGGESTIONS = 6
MIN_CONTEXT = 2
TP_SIZES = (1, 2, 4, 8)
AWQ_GROUP_SIZE = 128
AWQ_VOCABULARY_MULTIPLE = 64


class PlanError(ValueError):
    """The engine cannot be built or would not fit; the text says why and what would."""


class CapacityPlan(BaseModel):
    """An engine's needs. Sizes in bytes; `rank_` means one GPU's share."""

    model_config = ConfigDict(frozen=True)

    model: str
    engine: EnginePlan
    usable_bytes: int
    """Memory of one GPU that a process can have."""
    rank_parameters: int
    rank_weight_bytes: int
    rank_activation_bytes: int
    reserved_bytes: int = memory.RESERVED_BYTES
    kv_bytes_per_token: int
    """On each GPU."""
    kv_tokens: int
    source_bytes: int
    """The Hugging Face checkpoint, 16 bits a weight."""
    checkpoint_bytes: int
    """The TensorRT-LLM checkpoint, all ranks."""
    engine_bytes: int
    """The engine files, all ranks; they hold little beside the weights."""
    host_bytes_per_worker: int
    """Host memory that building one rank takes at its peak; an estimate."""

    @computed_field  # type: ignore[prop-decorator]
    @property
    def disk_bytes(self) -> int:
        """Source, checkpoint and engine together."""
        return self.source_bytes + self.checkpoint_bytes + self.engine_bytes

    @computed_field  # type: ignore[prop-decorator]
    @property
    def concurrent_typical_requests(self) -> int:
        """Requests of `TYPICAL_REQUEST_TOKENS` tokens, one beam, that the KV cache holds."""
        return self.kv_tokens // TYPICAL_REQUEST_TOKENS

    @computed_field  # type: ignore[prop-decorator]
    @property
    def concurrent_longest_requests(self) -> int:
        """Requests of `max_seq_len` tokens, one beam, that the KV cache holds."""
        return self.kv_tokens // self.engine.max_seq_len

    @computed_field  # type: ignore[prop-decorator]
    @property
    def concurrent_widest_requests(self) -> int:
        """Requests of `max_seq_len` tokens and `max_beam_width` beams that share no block."""
        return self.kv_tokens // (self.engine.max_seq_len * self.engine.max_beam_width)


def choose_engine(
    model: ModelEntry,
    gpu: GpuName | None = None,
    tp_size: int | None = None,
    quantization: Quantization | None = None,
    dtype: EngineDtype | None = None,
    context: int | None = None,
    kv_cache_dtype: KVCacheDtype | None = None,
    gather_context_logits: bool = False,
) -> EnginePlan:
    """Return the catalog's plan for this hardware, else its default plan with these changes.

    Args:
        model: the model.
        gpu: instead of the default plan's.
        tp_size: number of GPUs, instead of the default plan's.
        quantization: instead of the default plan's.
        dtype: of what is not quantized, instead of the plan's.
        context: most tokens of prompt and reply together, instead of the plan's.
        kv_cache_dtype: instead of the plan's.
        gather_context_logits: keep the logits of prompts, also where the plan does not.

    Raises:
        PlanError: `context` leaves no room for a prompt and a new token, or an FP8 KV cache goes
            with weights that are not calibrated.
    """
    wanted: dict[str, Any] = {
        "gpu": gpu or model.engine.gpu,
        "tp_size": tp_size or model.engine.tp_size,
        "quantization": quantization or model.engine.quantization,
    }
    known = (plan for plan in model.engine_plans if plan.model_dump(include=set(wanted)) == wanted)
    usual = {"kv_cache_dtype": usual_kv_cache_dtype(wanted["quantization"])}
    plan = next(known, model.engine.model_copy(update=wanted | usual))
    if kv_cache_dtype == "fp8" and plan.quantization not in CALIBRATED:
        raise PlanError(f"an FP8 KV cache comes with weights in {' or '.join(CALIBRATED)} only")
    if kv_cache_dtype is not None:
        plan = plan.model_copy(update={"kv_cache_dtype": kv_cache_dtype})
    if dtype is not None:
        plan = plan.model_copy(update={"dtype": dtype})
    if gather_context_logits:
        plan = plan.model_copy(update={"gather_context_logits": True})
    if context is None:
        return plan
    if context < MIN_CONTEXT:
        raise PlanError(f"a context of {context} tokens holds no prompt and reply")
    return plan.model_copy(update={"max_seq_len": context})


def usual_kv_cache_dtype(quantization: str) -> KVCacheDtype:
    """Return what goes with weights of this kind unless a plan says otherwise."""
    return "fp8" if quantization == "fp8" else "auto"


def measure(model: ModelEntry, engine: EnginePlan) -> CapacityPlan:
    """Compute what an engine needs, whether or not it fits."""
    shape, tp_size = model.shape, engine.tp_size
    usable = GPUS[engine.gpu].usable_bytes
    parameters = memory.rank_parameters(shape, model.architecture, tp_size)
    weights = memory.weight_bytes(parameters, engine.quantization)
    activations = memory.activation_bytes(shape, engine)
    activations += memory.context_logits_bytes(shape, engine)
    per_token = memory.kv_bytes_per_token(shape, tp_size, engine.kv_cache_dtype)
    # Weight-only quantization happens inside trtllm-build; its checkpoint is 16-bit.
    rank_checkpoint = weights if engine.quantization in CALIBRATED else 2 * parameters.total
    return CapacityPlan(
        model=model.name,
        engine=engine,
        usable_bytes=usable,
        rank_parameters=parameters.total,
        rank_weight_bytes=weights,
        rank_activation_bytes=activations,
        kv_bytes_per_token=per_token,
        kv_tokens=memory.kv_tokens(
            usable - weights - activations - memory.RESERVED_BYTES, per_token
        ),
        source_bytes=2 * memory.rank_parameters(shape, model.architecture, 1).total,
        checkpoint_bytes=rank_checkpoint * tp_size,
        engine_bytes=weights * tp_size,
        host_bytes_per_worker=int(memory.HOST_MEMORY_FACTOR * rank_checkpoint),
    )


def make_plan(model: ModelEntry, engine: EnginePlan) -> CapacityPlan:
    """Compute what an engine needs, and refuse one that cannot be.

    Raises:
        PlanError: it cannot be built or does not fit; the text names the nearest that does.
    """
    objection = _objection(model, engine)
    if objection is not None:
        raise PlanError(f"{model.name}: {objection}; {_suggestion(model, engine)}")
    return measure(model, engine)


def _objection(model: ModelEntry, engine: EnginePlan) -> str | None:
    """Say why an engine cannot be, or None."""
    shape, tp_size = model.shape, engine.tp_size
    if shape.num_attention_heads % tp_size or shape.intermediate_size % tp_size:
        return (
            f"{tp_size} GPUs cannot share {shape.num_attention_heads} attention heads and an "
            f"MLP of {shape.intermediate_size} evenly"
        )
    if shape.num_key_value_heads % tp_size and tp_size % shape.num_key_value_heads:
        return f"{tp_size} GPUs cannot share {shape.num_key_value_heads} KV heads evenly"
    if engine.max_seq_len > shape.max_position_embeddings:
        return (
            f"a context of {engine.max_seq_len} tokens exceeds the "
            f"{shape.max_position_embeddings} positions that the model knows"
        )
    if engine.quantization == "fp8" and not GPUS[engine.gpu].fp8:
        return f"an {engine.gpu} does not compute in FP8"
    if engine.quantization in CALIBRATED and model.architecture == "StableLmForCausalLM":
        return f"NVIDIA ModelOpt cannot export a {model.architecture} in {engine.quantization}"
    if engine.quantization == "int4_awq" and (reason := _awq_objection(shape, tp_size)):
        return reason
    if engine.kv_cache_dtype == "fp8" and not GPUS[engine.gpu].fp8:
        return f"an {engine.gpu} has no FP8 for the KV cache"
    plan = measure(model, engine)
    if plan.kv_tokens < engine.max_seq_len:
        fixed = plan.rank_weight_bytes + plan.rank_activation_bytes + plan.reserved_bytes
        return (
            f"does not fit {describe(engine)}: {fixed / GIB:.1f} GiB of weights, "
            f"activations and buffers in {plan.usable_bytes / GIB:.1f} GiB a GPU leave a "
            f"KV cache of {plan.kv_tokens:,} tokens, less than one request of "
            f"{engine.max_seq_len:,}"
        )
    return None


def _awq_objection(shape: Shape, tp_size: int) -> str | None:
    """What ModelOpt does not split, or would change: it pads a vocabulary to a multiple of 64.

    The padding's logits are 0, and a sampler may well draw what has a logit of 0.
    """
    for name, size in (
        ("hidden_size", shape.hidden_size),
        ("attention heads of a GPU", shape.num_attention_heads * shape.head_dim // tp_size),
        ("intermediate_size of a GPU", shape.intermediate_size // tp_size),
    ):
        if size % AWQ_GROUP_SIZE:
            return f"int4_awq scales {AWQ_GROUP_SIZE} inputs at a time, and {name} are {size}"
    if shape.vocab_size % AWQ_VOCABULARY_MULTIPLE:
        return (
            f"int4_awq needs a vocabulary of a multiple of {AWQ_VOCABULARY_MULTIPLE}, not "
            f"{shape.vocab_size}"
        )
    return None


def _suggestion(model: ModelEntry, engine: EnginePlan) -> str:
    """Name the plans that work and differ in as few of GPU, number and quantization as can be."""
    working = list(_working_neighbours(model, engine))
    if not working:
        return "no other GPU, number of GPUs or quantization helps; use a shorter context"
    fewest = min(changes for changes, _ in working)
    nearest = [plan for changes, plan in working if changes == fewest]
    return "what works: " + ", ".join(describe(plan) for plan in nearest[:MAX_SUGGESTIONS])


def _working_neighbours(model: ModelEntry, engine: EnginePlan) -> Iterator[tuple[int, EnginePlan]]:
    choices = product(get_args(Quantization), GPUS, TP_SIZES)
    for quantization, gpu, tp_size in choices:
        change = {"quantization": quantization, "gpu": gpu, "tp_size": tp_size}
        kv_cache_dtype = usual_kv_cache_dtype(quantization)
        neighbour = engine.model_copy(update={**change, "kv_cache_dtype": kv_cache_dtype})
        if _objection(model, neighbour) is None:
            changes = sum(getattr(engine, name) != value for name, value in change.items())
            yield changes, neighbour


def describe(engine: EnginePlan) -> str:
    """Name an engine's hardware and precision in the words of the command line."""
    cache = engine.kv_cache_dtype
    unusual = cache != usual_kv_cache_dtype(engine.quantization)
    suffix = f" with {cache} KV cache" if unusual else ""
    return f"{engine.tp_size} x {engine.gpu} {precision(engine)}{suffix}"


def precision(engine: EnginePlan) -> str:
    """Name the precision of the weights."""
    return engine.dtype if engine.quantization == "none" else engine.quantization
