"""The context of an image that is laid out like NVIDIA's, and the driver of its GPUs."""

from pathlib import Path

from support.nvidia_tools import TRTLLM_BUILD

ROOT = Path(__file__).parents[2]
DOCKERFILE = ROOT / "tests" / "docker" / "images" / "nvidia_base"


def write_nvidia_base(directory: Path) -> Path:
    """Write the stand-ins for NVIDIA's packages and programs; returns the directory."""
    packages, programs = directory / "packages", directory / "programs"
    stand_ins = ROOT / "tests" / "stand_ins"
    packages.mkdir()
    programs.mkdir()
    (directory / "constraints.txt").write_text((ROOT / "constraints.txt").read_text())
    (packages / "pynvml.py").write_text((DOCKERFILE / "pynvml.py").read_text())
    for name, version in (("tensorrt_llm", "1.2.1"), ("nvidia_ml_py", "13.615.71")):
        metadata = packages / f"{name}-{version}.dist-info" / "METADATA"
        metadata.parent.mkdir()
        metadata.write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
    for path in stand_ins.rglob("*"):
        if path.suffix in {".py", ".json"}:
            (packages / path.relative_to(stand_ins)).parent.mkdir(parents=True, exist_ok=True)
            (packages / path.relative_to(stand_ins)).write_bytes(path.read_bytes())
    # The stand-in for the executor computes with the checkpoint that the plan names.
    plan = 'json.dumps({"checkpoint": os.environ["STAND_IN_CHECKPOINT"]}).encode()'
    programs_text = {
        "trtllm-build": TRTLLM_BUILD.replace('b"plan"', plan),
        "nvidia-smi": 'import os; print(os.environ["STAND_IN_SMI"])',
    }
    for name, text in programs_text.items():
        (programs / name).write_text(f"#!/opt/venv-tritonserver/bin/python\n{text}")
        (programs / name).chmod(0o755)
    return directory


def driver(smi: str, gpus: int, checkpoint: str) -> dict[str, str]:
    """Return the environment in which the stand-ins see so many GPUs.

    Args:
        smi: how nvidia-smi names one, and its MiB.
        gpus: their number.
        checkpoint: what a stand-in engine computes with, a directory of the container.
    """
    name, _, memory = smi.partition(", ")
    return {
        "STAND_IN_SMI": "\n".join([smi] * gpus),
        "STAND_IN_GPUS": str(gpus),
        "STAND_IN_GPU": name,
        "STAND_IN_MEMORY_MIB": memory,
        "STAND_IN_CHECKPOINT": checkpoint,
    }
