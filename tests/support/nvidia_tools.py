"""Stand-ins for programs that cannot be installed here: trtllm-build and a driver.

They need a GPU. The stand-in for trtllm-build takes the real command line, records it, and writes
the files of an engine, with a config.json in the form that TensorRT-LLM gives it
(NVIDIA/TensorRT-LLM, tensorrt_llm/builder.py). What an engine computes is not tested with them.
"""

import json
import sys
from pathlib import Path
from typing import Any

import pytest

A10G = "NVIDIA A10G, 23028"
A100_80 = "NVIDIA A100-SXM4-80GB, 81920"
H100 = "NVIDIA H100 80GB HBM3, 81559"

TRTLLM_BUILD = """
import json, os, pathlib, signal, sys
SWITCH = "--gather_context_logits"
arguments = [each for each in sys.argv[1:] if each != SWITCH]
flags = dict(zip(arguments[::2], arguments[1::2]))
print("[TensorRT-LLM] TensorRT-LLM version: 1.2.1")
if message := os.environ.get("STAND_IN_FAILURE"):
    sys.exit(message)
if os.environ.get("STAND_IN_KILLED"):
    os.kill(os.getpid(), signal.SIGKILL)
output = pathlib.Path(flags["--output_dir"])
config = json.loads((pathlib.Path(flags["--checkpoint_dir"]) / "config.json").read_text())
limits = ("max_batch_size", "max_beam_width", "max_input_len", "max_seq_len", "max_num_tokens")
engine = {
    "version": "1.2.1",
    "pretrained_config": config,
    "build_config": {
        **{name: int(flags["--" + name]) for name in limits},
        "kv_cache_type": flags["--kv_cache_type"].upper(),
        "strongly_typed": True,
        "gather_context_logits": SWITCH in sys.argv,
        "plugin_config": {
            "remove_input_padding": flags["--remove_input_padding"] == "enable",
            "use_paged_context_fmha": flags["--use_paged_context_fmha"] == "enable",
        },
    },
}
(output / "config.json").write_text(json.dumps(engine))
for rank in range(config["mapping"]["world_size"]):
    (output / f"rank{rank}.engine").write_bytes(b"plan")
(output / "argv.json").write_text(json.dumps(sys.argv[1:]))
pathlib.Path("model.cache").write_bytes(b"written to the working directory")
print("Total time of building all engines: 00:00:00")
"""


def install(
    directory: Path, monkeypatch: pytest.MonkeyPatch, gpus: list[str], version: str = "1.2.1"
) -> None:
    """Put the stand-ins first on PATH, and TensorRT-LLM's version among Python's packages."""
    programs = directory / "bin"
    programs.mkdir()
    _write_program(programs / "trtllm-build", TRTLLM_BUILD)
    _write_program(programs / "nvidia-smi", f"print({chr(10).join(gpus)!r})" if gpus else "exit(9)")
    (programs / "python3").write_text(f'#!/bin/sh\nexec {sys.executable} "$@"\n')
    (programs / "python3").chmod(0o755)
    monkeypatch.setenv("PATH", str(programs), prepend=":")
    packages = directory / "packages"
    metadata = packages / f"tensorrt_llm-{version}.dist-info" / "METADATA"
    metadata.parent.mkdir(parents=True)
    metadata.write_text(f"Metadata-Version: 2.1\nName: tensorrt_llm\nVersion: {version}\n")
    monkeypatch.syspath_prepend(str(packages))


def edit_json(path: Path, *keys: str, value: Any) -> None:
    """Set the value under a chain of keys."""
    content = json.loads(path.read_text())
    target = content
    for key in keys[:-1]:
        target = target[key]
    target[keys[-1]] = value
    path.write_text(json.dumps(content))


def _write_program(path: Path, source: str) -> None:
    path.write_text(f"#!{sys.executable}\n{source}")
    path.chmod(0o755)
