"""What an older Hugging Face config.json leaves out, as transformers supplies it."""

from collections.abc import Mapping
from typing import Any

DEFAULT_THETA = 10000.0
STABLELM_ROTARY_FACTOR = 0.25
"""The other classes rotate every lane of a head."""


def with_defaults(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return a config.json with its rotary embedding, key heads and head size filled in.

    `rope_parameters` has `rope_type`, `rope_theta` and `partial_rotary_factor` then, besides what
    the type adds.

    Raises:
        ValueError: the parameters of the rotary embedding are no object.
    """
    filled = dict(content)
    # huggingface/transformers, src/transformers/modeling_rope_utils.py: transformers 4 wrote
    # rope_theta and rope_scaling, which win over rope_parameters, where 5 puts everything.
    given = content.get("rope_scaling") or content.get("rope_parameters") or {}
    if not isinstance(given, Mapping):
        raise ValueError(f"rope_parameters is {given!r}, not an object")
    rope = dict(given)
    rope.setdefault("rope_type", rope.get("type", "default"))
    for name, default in (("rope_theta", DEFAULT_THETA), ("partial_rotary_factor", None)):
        value = content.get(name)
        rope.setdefault(name, default if value is None else value)
    if rope["partial_rotary_factor"] is None:
        is_stablelm = content.get("model_type") == "stablelm" or "StableLmForCausalLM" in (
            content.get("architectures") or ()
        )
        rope["partial_rotary_factor"] = STABLELM_ROTARY_FACTOR if is_stablelm else 1.0
    filled["rope_parameters"] = rope
    heads, hidden = content.get("num_attention_heads"), content.get("hidden_size")
    if filled.get("num_key_value_heads") is None:
        filled["num_key_value_heads"] = heads
    if filled.get("head_dim") is None and isinstance(heads, int) and isinstance(hidden, int):
        filled["head_dim"] = hidden // max(heads, 1)
    return filled
