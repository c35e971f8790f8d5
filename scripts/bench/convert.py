"""Measure a conversion against cp: peak memory and throughput, on random weights of a given size.

Everything is done in one run, on one disk, on the same bytes. The size is reached by leaving out
layers; what is written is flushed to the disk before a clock stops, by cp as by the conversion.
"""

import argparse
import json
import math
import multiprocessing
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from build_engines.checkpoint.convert import convert
from build_engines.checkpoint.huggingface_config import HuggingFaceConfig
from build_engines.checkpoint.layout import plan_layout
from build_engines.checkpoint.safetensors_file import SafetensorsWriter
from build_engines.checkpoint.translation import translate
from build_engines.checkpoint.trtllm_config import Dtype
from catalog import ModelEntry, load_catalog

GB = 10**9
ITEM_BYTES = 2
RANDOM_BYTES = 1 << 24


def source_config(model: ModelEntry, num_hidden_layers: int) -> dict[str, object]:
    """The config.json of a checkpoint of the model's shape with fewer layers."""
    shape = model.shape.model_dump(exclude={"sliding_window"})
    return shape | {
        "architectures": [model.architecture],
        "num_hidden_layers": num_hidden_layers,
        "rms_norm_eps": 1e-5,
    }


def source_shapes(config: dict[str, object]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the weights that belong to a config.json."""
    translation = translate(
        HuggingFaceConfig.model_validate(config),
        tp_size=1,
        dtype="bfloat16",
        quantization="none",
        use_parallel_embedding=False,
    )
    return plan_layout(translation.config).sources


def nbytes(shapes: dict[str, tuple[int, ...]]) -> int:
    """Bytes of the weights."""
    return ITEM_BYTES * sum(math.prod(shape) for shape in shapes.values())


def layers_of(model: ModelEntry, size: int) -> int:
    """As many of the model's layers as make a checkpoint of about `size` bytes."""
    one, two = (nbytes(source_shapes(source_config(model, layers))) for layers in (1, 2))
    fitting = 1 + round((size - one) / (two - one))
    return min(max(1, fitting), model.shape.num_hidden_layers)


def write_source(directory: Path, config: dict[str, object]) -> None:
    """Write a checkpoint of random weights in bfloat16."""
    directory.mkdir()
    (directory / "config.json").write_text(json.dumps(config))
    shapes = source_shapes(config)
    writer = SafetensorsWriter(directory / "model.safetensors", "BF16", shapes)
    for block in random_blocks(nbytes(shapes)):
        writer.write(block)
    writer.close()


def random_blocks(size: int) -> Iterator[bytes]:
    """Bytes that are small bfloat16 numbers; a block repeats, which neither cp nor sha256 sees."""
    block = bytearray(os.urandom(RANDOM_BYTES))
    # The upper byte of a number: its sign and most of its exponent, that of 2^-7 to 2^-4.
    block[1::2] = bytes(0x3C | byte & 0x81 for byte in block[1::2])
    for start in range(0, size, RANDOM_BYTES):
        yield bytes(block[: min(RANDOM_BYTES, size - start)])


def time_copy(source: Path, destination: Path) -> float:
    """Seconds that cp takes, and the disk after it."""
    started = time.perf_counter()
    command = ["cp", "-r", "--reflink=never", str(source), str(destination)]
    subprocess.run(command, check=True)  # noqa: S603
    for path in destination.iterdir():
        with path.open("rb") as file:
            os.fsync(file.fileno())
    return time.perf_counter() - started


def measure_conversion(
    model_name: str, source: Path, destination: Path, dtype: Dtype, tp_size: int
) -> tuple[float, int]:
    """Convert; returns seconds and the process's peak resident memory in bytes."""
    started = time.perf_counter()
    convert(load_catalog()[model_name], source, destination, dtype=dtype, tp_size=tp_size)
    seconds = time.perf_counter() - started
    status = Path("/proc/self/status").read_text()
    (peak,) = (line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
    return seconds, int(peak) * 1024


def main() -> None:
    """Run the benchmark and print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--model", choices=list(load_catalog()), default="mistral-7b")
    parser.add_argument("--gigabytes", type=float, default=2.5, help="size of the checkpoint")
    parser.add_argument("--tp", type=int, default=1, help="ranks")
    parser.add_argument("--directory", type=Path, help="place for twice the size and its copy")
    options = parser.parse_args()
    model = load_catalog()[options.model]
    with tempfile.TemporaryDirectory(prefix="bench-convert-", dir=options.directory) as directory:
        source, destination = Path(directory) / "source", Path(directory) / "destination"
        config = source_config(model, layers_of(model, int(options.gigabytes * GB)))
        write_source(source, config)
        size = (source / "model.safetensors").stat().st_size
        print(
            f"{options.model}, {config['num_hidden_layers']} of {model.shape.num_hidden_layers} "
            f"layers, {size / GB:.2f} GB in bfloat16, tp_size {options.tp}"
        )
        print(f"{'':<28}{'seconds':>9}{'GB/s':>8}{'of cp':>8}{'peak GB':>9}")
        copying = time_copy(source, destination)
        shutil.rmtree(destination)
        print(f"{'cp':<28}{copying:>9.1f}{size / GB / copying:>8.2f}{1:>8.2f}")
        dtypes: tuple[Dtype, ...] = ("bfloat16", "float16")
        for dtype in dtypes:
            # A process of its own, whose peak is that of nothing else.
            with multiprocessing.get_context("spawn").Pool(1) as pool:
                seconds, peak = pool.apply(
                    measure_conversion, (model.name, source, destination, dtype, options.tp)
                )
            shutil.rmtree(destination)
            print(
                f"{'convert to ' + dtype:<28}{seconds:>9.1f}{size / GB / seconds:>8.2f}"
                f"{copying / seconds:>8.2f}{peak / GB:>9.2f}"
            )


if __name__ == "__main__":
    main()
