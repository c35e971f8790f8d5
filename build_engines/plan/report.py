"""A capacity plan as a table that a person can read."""

from build_engines.plan.capacity import TYPICAL_REQUEST_TOKENS, CapacityPlan, describe
from build_engines.plan.gpus import GIB
from build_engines.plan.memory import KV_CACHE_FRACTION

Row = tuple[str, str, str]
"""Label, value, remark."""


def render(plan: CapacityPlan) -> str:
    """Return the table, a section a subject, without a final line break."""
    sections: list[tuple[str, list[Row]]] = [
        ("Memory of each GPU", _memory(plan)),
        ("KV cache", _kv_cache(plan)),
        ("Requests at once", _concurrency(plan)),
        ("Engine limits", _limits(plan)),
        ("Disk and build", _build(plan)),
    ]
    rows = [row for _, section in sections for row in section]
    label_width = max(len(label) for label, _, _ in rows)
    value_width = max(len(value) for _, value, _ in rows)
    lines = [f"{plan.model} on {describe(plan.engine)}"]
    for title, section in sections:
        lines += ["", title]
        lines += [
            f"  {label:<{label_width}}  {value:>{value_width}}  {remark}".rstrip()
            for label, value, remark in section
        ]
    return "\n".join(lines)


def _memory(plan: CapacityPlan) -> list[Row]:
    parts = (plan.rank_weight_bytes, plan.rank_activation_bytes, plan.reserved_bytes)
    free = plan.usable_bytes - sum(parts)
    return [
        ("usable", _gib(plan.usable_bytes), ""),
        ("weights", _gib(plan.rank_weight_bytes), f"{plan.rank_parameters:,} parameters"),
        (
            "activations",
            _gib(plan.rank_activation_bytes),
            f"{plan.engine.max_num_tokens:,} tokens a step{_with_logits(plan)}, upper estimate",
        ),
        ("buffers", _gib(plan.reserved_bytes), "CUDA, NCCL, decoder"),
        ("KV cache", _gib(int(free * KV_CACHE_FRACTION)), f"{KV_CACHE_FRACTION:.0%} of the rest"),
    ]


def _with_logits(plan: CapacityPlan) -> str:
    return " and their logits" if plan.engine.gather_context_logits else ""


def _kv_cache(plan: CapacityPlan) -> list[Row]:
    return [
        ("a token", f"{plan.kv_bytes_per_token:,} B", "on each GPU"),
        ("tokens", f"{plan.kv_tokens:,}", ""),
    ]


def _concurrency(plan: CapacityPlan) -> list[Row]:
    engine = plan.engine
    rows = [
        (f"of {TYPICAL_REQUEST_TOKENS:,} tokens", f"{plan.concurrent_typical_requests:,}", ""),
        (f"of {engine.max_seq_len:,} tokens", f"{plan.concurrent_longest_requests:,}", ""),
    ]
    if engine.max_beam_width > 1:
        label = f"of {engine.max_seq_len:,} tokens, {engine.max_beam_width} beams"
        remark = "" if plan.concurrent_widest_requests else "such a request would not fit"
        rows.append((label, f"{plan.concurrent_widest_requests:,}", remark))
    return rows


def _limits(plan: CapacityPlan) -> list[Row]:
    engine = plan.engine
    return [
        ("max_batch_size", f"{engine.max_batch_size:,}", "requests scheduled together"),
        ("max_seq_len", f"{engine.max_seq_len:,}", "prompt and reply of one request"),
        ("max_num_tokens", f"{engine.max_num_tokens:,}", "tokens of one step"),
        ("max_beam_width", f"{engine.max_beam_width:,}", ""),
    ]


def _build(plan: CapacityPlan) -> list[Row]:
    return [
        ("Hugging Face checkpoint", _gib(plan.source_bytes), ""),
        ("TensorRT-LLM checkpoint", _gib(plan.checkpoint_bytes), _ranks(plan)),
        ("engine", _gib(plan.engine_bytes), _ranks(plan)),
        ("disk in all", _gib(plan.disk_bytes), ""),
        ("host memory", _gib(plan.host_bytes_per_worker), "a worker, estimate"),
    ]


def _ranks(plan: CapacityPlan) -> str:
    ranks = plan.engine.tp_size
    return f"{ranks} ranks" if ranks > 1 else ""


def _gib(size: int) -> str:
    return f"{size / GIB:,.2f} GiB"
