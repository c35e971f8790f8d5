"""What a directory is that was given as a Hugging Face checkpoint, and what to do about it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

CONFIG_NAME = "config.json"

_ORIGINAL = "take the Hugging Face form of the checkpoint (config.json with safetensors)"


def other_form(directory: Path) -> str | None:
    """Say what a directory without a usable config.json is, and what to do, where that is seen."""
    if not directory.is_dir():
        return "no such directory; give the directory of a Hugging Face checkpoint"
    if (directory / "adapter_config.json").is_file():
        return (
            "a LoRA adapter without its model; merge it into the model (peft, merge_and_unload), "
            "and give the result"
        )
    if (directory / CONFIG_NAME).is_file():
        return None
    if any(directory.glob("*.gguf")):
        return "a GGUF file for llama.cpp; give the Hugging Face checkpoint of the model"
    if any(directory.glob("consolidated*.pth")):
        return (
            f"Meta's original form (consolidated.*.pth); {_ORIGINAL}, or make it with transformers"
        )
    if (directory / "params.json").is_file():
        return f"Mistral's original form (params.json); {_ORIGINAL}"
    if any(directory.glob("*/config.pbtxt")):
        return "a Triton model repository; give it as REPOSITORY"
    return None


def other_content(content: Mapping[str, Any]) -> str | None:
    """Say what a config.json describes if not a plain Hugging Face checkpoint, and what to do."""
    if "build_config" in content:
        return "a TensorRT-LLM engine, not a checkpoint; assemble a model repository with it"
    if is_trtllm_config(content):
        return "a TensorRT-LLM checkpoint already; build an engine from it"
    return quantized_form(content)


def is_trtllm_config(content: object) -> bool:
    """Whether a config.json is TensorRT-LLM's: only that says how the ranks share the model."""
    return isinstance(content, dict) and "mapping" in content


def quantized_form(content: Mapping[str, Any]) -> str | None:
    """Say by what a Hugging Face checkpoint is quantized, and what to do, if it is."""
    quantization = content.get("quantization_config")
    if not quantization:
        return None
    method = quantization.get("quant_method") if isinstance(quantization, dict) else None
    return (
        f"quantized by {str(method or 'an unknown method').upper()}; give the checkpoint that it "
        "was made from, whose weights are 16-bit"
    )
