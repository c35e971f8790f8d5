"""The program that runs ModelOpt: a Hugging Face checkpoint in, a TensorRT-LLM checkpoint out.

`python -m build_engines.quantize.export`, with ModelOpt's packages on PYTHONPATH (see `packages`).
It does what NVIDIA's script does (NVIDIA/TensorRT-LLM,
tensorrt_llm/quantization/quantize_by_modelopt.py) with calibration text from a file and without
asking for a GPU.
"""

import argparse
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import modelopt.torch.quantization as mtq
import torch
from accelerate.hooks import remove_hook_from_module
from modelopt.torch.export import export_tensorrt_llm_checkpoint
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from build_engines.checkpoint.huggingface_config import read_huggingface_config

FORMATS = {"fp8": "FP8_DEFAULT_CFG", "int4_awq": "INT4_AWQ_CFG"}
"""ModelOpt's recipe by quantization of the catalog; another one is plain."""
BASE = ("rope_theta", "partial_rotary_factor")
"""Rotary parameters that are not part of a scaling in transformers 4."""
DECODER = "llama"
"""ModelOpt's word for Llama and Mistral."""


@dataclass(frozen=True, slots=True)
class Calibration:
    """Text to run the model on, as many rows of as many tokens."""

    text: str
    rows: int
    tokens: int


def export(
    source: Path,
    output: Path,
    *,
    dtype: str,
    tp_size: int,
    quantization: str = "none",
    kv_cache_dtype: str = "auto",
    calibration: Calibration | None = None,
) -> None:
    """Write config.json and the rank files of a checkpoint.

    Args:
        source: a Llama or Mistral checkpoint directory.
        output: directory to write.
        dtype: of what is not quantized.
        tp_size: ranks.
        quantization: a key of `FORMATS`, or `none`.
        kv_cache_dtype: `fp8` calibrates scales for an FP8 cache, too.
        calibration: for quantized weights.
    """
    has_gpus = torch.cuda.is_available()
    model = _load(source, getattr(torch, dtype), has_gpus)
    if calibration is not None:
        recipe = deepcopy(getattr(mtq, FORMATS[quantization]))
        if kv_cache_dtype == "fp8":
            recipe["quant_cfg"].update(mtq.FP8_KV_CFG["quant_cfg"])
        mtq.quantize(model, recipe, _calibration_loop(source, calibration))
    if has_gpus:
        remove_hook_from_module(model, recurse=True)  # those that move tensors between GPUs
    with torch.inference_mode():
        export_tensorrt_llm_checkpoint(
            model,
            DECODER,
            getattr(torch, dtype),
            export_dir=output,
            inference_tensor_parallel=tp_size,
        )


def _load(source: Path, dtype: torch.dtype, has_gpus: bool) -> Any:
    """Load the model, over all GPUs where there are any."""
    config = AutoConfig.from_pretrained(source, local_files_only=True)
    # transformers 4 does not look where 5 writes these, and computes with its defaults instead.
    known = read_huggingface_config(source)
    config.rope_theta = known.rope_theta
    scaling = {name: value for name, value in known.rope_parameters.items() if name not in BASE}
    config.rope_scaling = None if scaling["rope_type"] == "default" else scaling
    return AutoModelForCausalLM.from_pretrained(
        source,
        config=config,
        dtype=dtype,
        local_files_only=True,
        use_safetensors=True,
        **({"device_map": "auto"} if has_gpus else {}),
    ).eval()


def _calibration_loop(source: Path, calibration: Calibration) -> Callable[[Any], None]:
    encode = _tokenizer(source)
    # Every row begins as a prompt does: the first token has the largest activations of all.
    beginning = encode("", True)[:1]
    token_ids = encode(calibration.text, False)
    rows = [
        beginning + row
        for row in cut(token_ids, calibration.rows, calibration.tokens - len(beginning))
    ]

    def run(model: Any) -> None:
        with torch.no_grad():
            for number, row in enumerate(rows, start=1):
                print(f"calibrating: {number} of {len(rows)} rows", flush=True)
                model(torch.tensor([row], device=model.device))

    return run


def _tokenizer(source: Path) -> Callable[[str, bool], list[int]]:
    """Return what encodes a text, with special tokens or without."""
    if (source / "tokenizer.json").is_file():
        # transformers 4 does not know the classes that 5 writes into tokenizer_config.json.
        fast = Tokenizer.from_file(str(source / "tokenizer.json"))
        return lambda text, special: list(fast.encode(text, add_special_tokens=special).ids)
    slow = AutoTokenizer.from_pretrained(source, local_files_only=True)
    return lambda text, special: list(slow(text, add_special_tokens=special).input_ids)


def cut(token_ids: list[int], rows: int, tokens: int) -> list[list[int]]:
    """Cut a text's tokens into rows; what does not fill one is left out, unless there is no other.

    Returns:
        At most `rows` rows of `tokens` tokens.
    """
    starts = range(0, max(1, len(token_ids) - tokens + 1), tokens)
    return [token_ids[start : start + tokens] for start in starts[:rows]]


def main() -> None:
    """Read the arguments and export."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--source", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--dtype", required=True)
    parser.add_argument("--tp-size", type=int, required=True)
    parser.add_argument("--quantization", choices=[*FORMATS, "none"], required=True)
    parser.add_argument("--kv-cache-dtype", choices=["auto", "fp8"], required=True)
    parser.add_argument("--calibration", type=Path, required=True)
    parser.add_argument("--rows", type=int, required=True)
    parser.add_argument("--tokens", type=int, required=True)
    options = parser.parse_args()
    text = options.calibration.read_text(encoding="utf-8")
    export(
        options.source,
        options.output,
        dtype=options.dtype,
        tp_size=options.tp_size,
        quantization=options.quantization,
        kv_cache_dtype=options.kv_cache_dtype,
        calibration=Calibration(text, options.rows, options.tokens),
    )


if __name__ == "__main__":
    main()
