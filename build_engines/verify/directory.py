"""Re-reading a TensorRT-LLM checkpoint or engine directory: is it whole, and what it says it is?"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from build_engines.checkpoint.engine_config import EngineError, read_engine
from build_engines.checkpoint.layout import plan_layout
from build_engines.checkpoint.manifest import MANIFEST_NAME, Manifest, ManifestError, digest
from build_engines.checkpoint.rank_files import Progress, rank_file
from build_engines.checkpoint.safetensors_file import SafetensorsError, TensorInfo, read_header
from build_engines.checkpoint.split import Shape
from build_engines.checkpoint.trtllm_config import (
    CONFIG_NAME,
    GptConfig,
    LlamaConfig,
    TrtllmConfigError,
    read_trtllm_config,
)
from catalog.schema import TENSORRT_LLM_VERSION

FP8_DTYPES = {"F8_E4M3", "I8"}
"""FP8 bytes may be stored under either type."""
FP8_SCALES = ("weights_scaling_factor", "activation_scaling_factor")
OPTIONAL_TENSORS = {"rotary_inv_freq", "embed_positions", "embed_positions_for_gpt_attention"}
"""Rotary tables, which TensorRT-LLM computes when they are not there."""

_RANK_FILE = re.compile(r"rank\d+\.\w+")


class VerificationError(ValueError):
    """There is nothing to verify; the text says why."""


@dataclass(slots=True)
class Verification:
    """What was found in a directory."""

    directory: Path
    facts: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def render(self) -> str:
        """A report that a person can read, without a final line break."""
        lines = [f"{self.directory}: {'ok' if self.ok else 'NOT USABLE'}"]
        lines += [f"  {fact}" for fact in self.facts]
        lines += [f"  problem: {problem}" for problem in self.problems]
        return "\n".join(lines)


def verify(directory: Path, progress: Progress | None = None) -> Verification:
    """Check a TensorRT-LLM checkpoint or engine against its config.json and its manifest.

    Args:
        directory: what `convert`, `trtllm-build` or NVIDIA's ModelOpt has written.
        progress: called with the bytes hashed and the bytes to hash.

    Raises:
        VerificationError: the directory has no config.json, or one that is no JSON.
    """
    path = directory / CONFIG_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise VerificationError(
            f"{path}: {error.strerror}; give a TensorRT-LLM checkpoint or engine directory"
        ) from error
    except ValueError as error:
        raise VerificationError(f"{path}: no JSON: {error}") from error
    report = Verification(directory)
    if "pretrained_config" in content:
        _verify_engine(report)
    else:
        _verify_checkpoint(report)
    _verify_hashes(report, progress)
    return report


def _verify_engine(report: Verification) -> None:
    try:
        engine = read_engine(report.directory)
    except EngineError as error:
        report.problems.append(str(error))
        return
    pretrained = engine.pretrained_config
    report.facts.append(
        f"engine of {pretrained.architecture}, TensorRT-LLM {engine.version}, {pretrained.dtype}, "
        f"{pretrained.mapping.world_size} ranks"
    )
    if engine.version != TENSORRT_LLM_VERSION:
        report.problems.append(
            f"was built by TensorRT-LLM {engine.version}, and {TENSORRT_LLM_VERSION} cannot run it"
        )
    names = [f"rank{rank}.engine" for rank in range(pretrained.mapping.world_size)]
    report.problems += _file_problems(report.directory, names)


def _verify_checkpoint(report: Verification) -> None:
    try:
        config = read_trtllm_config(report.directory)
    except TrtllmConfigError as error:
        report.problems.append(str(error))
        return
    layout = plan_layout(config)
    report.facts.append(
        f"checkpoint of {config.architecture}, {config.dtype}, quantization "
        f"{config.quantization.quant_algo or 'none'}, {layout.num_ranks} ranks of "
        f"{len(layout.tensors)} weights, {layout.elements_per_rank:,} elements"
    )
    names = [rank_file(rank) for rank in range(layout.num_ranks)]
    report.problems += _file_problems(report.directory, names)
    for name in names:
        path = report.directory / name
        if not path.is_file():
            continue
        try:
            tensors = read_header(path)
        except SafetensorsError as error:
            report.problems.append(str(error))
            continue
        problems = _tensor_problems(tensors, config, layout.shapes)
        report.problems += [f"{name}: {each}" for each in problems]


def _file_problems(directory: Path, names: list[str]) -> Iterator[str]:
    """A rank's file that is missing or empty, or one of a rank that there is not."""
    for name in names:
        path = directory / name
        if not path.is_file() or not path.stat().st_size:
            yield f"{name}: missing or empty"
    for path in sorted(directory.iterdir()):
        if _RANK_FILE.fullmatch(path.name) and path.name not in names:
            yield f"{path.name}: not the file of one of {len(names)} ranks"


def _tensor_problems(
    tensors: dict[str, TensorInfo], config: LlamaConfig | GptConfig, shapes: dict[str, Shape]
) -> Iterator[str]:
    """TensorRT-LLM refuses wrong shapes, but takes over wrong types with no more than a warning."""
    is_fp8 = config.quantization.quant_algo == "FP8"
    for name, shape in shapes.items():
        # ModelOpt leaves the embedding table and the output matrix as they are.
        is_quantized = is_fp8 and len(shape) == 2 and name.startswith("transformer.layers.")
        dtypes = FP8_DTYPES if is_quantized else {config.safetensors_dtype}
        if name not in tensors:
            yield f"{name} is missing"
        elif tensors[name].shape != shape:
            yield f"{name} has shape {list(tensors[name].shape)}, not {list(shape)}"
        elif tensors[name].dtype not in dtypes:
            yield f"{name} is {tensors[name].dtype}, not {' or '.join(sorted(dtypes))}"
        if is_quantized:
            for scale in FP8_SCALES:
                if name.removesuffix("weight") + scale not in tensors:
                    yield f"{name.removesuffix('weight')}{scale} is missing"
    for name in sorted(tensors.keys() - shapes.keys() - OPTIONAL_TENSORS):
        if not name.endswith("_scaling_factor"):
            yield f"{name} is no weight of {config.architecture}"


def _verify_hashes(report: Verification, progress: Progress | None) -> None:
    """Compare every file with the manifest, which a directory of NVIDIA's tools does not have."""
    try:
        manifest = Manifest.read(report.directory)
    except ManifestError as error:
        if (report.directory / MANIFEST_NAME).exists():
            report.problems.append(str(error))
        else:
            report.facts.append(f"no {MANIFEST_NAME}: the content of the files is not checked")
        return
    snapshot = manifest.source.snapshot
    origin = f"{snapshot.repository} {snapshot.revision}" if snapshot else "a local directory"
    report.facts.append(f"converted by Aeolus {manifest.aeolus_version} from {origin}")
    done, total = 0, sum(file.size for file in manifest.files.values())
    for name, expected in manifest.files.items():
        path = report.directory / name
        if path.is_file() and digest(path) != expected:
            report.problems.append(f"{name}: has changed since the conversion")
        elif not path.is_file():
            report.problems.append(f"{name}: missing, but listed in {MANIFEST_NAME}")
        done += expected.size
        if progress:
            progress(done, total)
