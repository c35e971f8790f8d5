"""Re-reading a TensorRT-LLM checkpoint or engine directory: is it whole, and what it says it is?"""

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from build_engines.checkpoint.engine_config import EngineError, read_engine
from build_engines.checkpoint.forms import CONFIG_NAME, is_trtllm_config
from build_engines.checkpoint.layout import plan_layout
from build_engines.checkpoint.manifest import MANIFEST_NAME, Manifest, ManifestError, digest
from build_engines.checkpoint.rank_files import Progress, rank_file
from build_engines.checkpoint.safetensors_file import SafetensorsError
from build_engines.checkpoint.trtllm_config import TrtllmConfigError, read_trtllm_config
from build_engines.verify.tensors import expected_tensors, tensor_problems
from catalog.schema import TENSORRT_LLM_VERSION

_RANK_FILE = re.compile(r"rank\d+\.\w+")


class VerificationError(ValueError):
    """There is nothing to verify; the text says why."""


@dataclass(slots=True)
class Verification:
    """What was found in a directory."""

    directory: Path
    facts: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    """What a person should know but is not a problem."""
    problems: list[str] = field(default_factory=list)

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not self.problems

    def render(self) -> str:
        """A report that a person can read, without a final line break."""
        lines = [f"{self.directory}: {'ok' if self.ok else 'NOT USABLE'}"]
        lines += [f"  {fact}" for fact in self.facts]
        lines += [f"  note: {note}" for note in self.notes]
        lines += [f"  problem: {problem}" for problem in self.problems]
        return "\n".join(lines)


def verify(directory: Path, progress: Progress | None = None) -> Verification:
    """Check a TensorRT-LLM checkpoint or engine against its config.json and its manifest.

    Args:
        directory: what `convert`, `trtllm-build` or NVIDIA's ModelOpt has written.
        progress: called with the bytes hashed and the bytes to hash.

    Raises:
        VerificationError: the directory has no config.json, or one that is not JSON.
    """
    path = directory / CONFIG_NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise VerificationError(
            f"{path}: {error.strerror}; give a TensorRT-LLM checkpoint or engine directory"
        ) from error
    except ValueError as error:
        raise VerificationError(f"{path}: not JSON: {error}") from error
    report = Verification(directory)
    if not is_trtllm_config(content) and "pretrained_config" not in content:
        raise VerificationError(
            f"{path}: not TensorRT-LLM's, perhaps a Hugging Face checkpoint's; convert that first"
        )
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
    layout, quantization = plan_layout(config), config.quantization
    report.facts.append(
        f"checkpoint of {config.architecture}, {config.dtype}, quantization "
        f"{quantization.quant_algo or 'none'}, KV cache "
        f"{quantization.kv_cache_quant_algo or config.dtype}, {layout.num_ranks} ranks of "
        f"{len(layout.tensors)} weights, {layout.elements_per_rank:,} elements"
    )
    if config.producer:
        report.facts.append(f"written by {config.producer.name} {config.producer.version}")
    report.problems += [
        f"{key}: unknown keys, which TensorRT-LLM refuses" for key in config.unknown_keys
    ]
    expected = expected_tensors(config, layout)
    names = [rank_file(rank) for rank in range(layout.num_ranks)]
    report.problems += _file_problems(report.directory, names)
    for name in names:
        path = report.directory / name
        if not path.is_file():
            continue
        try:
            problems = list(tensor_problems(path, expected))
        except SafetensorsError as error:
            report.problems.append(str(error))
            continue
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


def _verify_hashes(report: Verification, progress: Progress | None) -> None:
    """Compare every file with the manifest, which a directory of NVIDIA's tools does not have."""
    try:
        manifest = Manifest.read(report.directory)
    except ManifestError as error:
        if (report.directory / MANIFEST_NAME).exists():
            report.problems.append(str(error))
        else:
            report.notes.append(
                f"no {MANIFEST_NAME}, as another tool wrote this: names, shapes and types are "
                "checked, the numbers are not"
            )
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
