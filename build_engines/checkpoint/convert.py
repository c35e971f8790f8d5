"""Converting a Hugging Face checkpoint to a TensorRT-LLM checkpoint, on the CPU, as a stream."""

import json
from importlib.metadata import version
from pathlib import Path

from build_engines.checkpoint.forms import CONFIG_NAME
from build_engines.checkpoint.huggingface_config import CheckpointError, read_huggingface_config
from build_engines.checkpoint.huggingface_weights import HuggingFaceWeights, few, open_weights
from build_engines.checkpoint.layout import Layout, plan_layout
from build_engines.checkpoint.manifest import (
    Conversion,
    Manifest,
    ManifestError,
    Source,
    describe_source,
    write_text,
)
from build_engines.checkpoint.partial_directory import ConversionError, partial_directory
from build_engines.checkpoint.rank_files import Progress, write_rank_files
from build_engines.checkpoint.safetensors_file import DTYPES
from build_engines.checkpoint.translation import translate
from build_engines.checkpoint.trtllm_config import Dtype, TrtllmConfig
from catalog import ModelEntry
from catalog.schema import Quantization

_IGNORED = ("lm_head.weight", "rotary_emb.inv_freq")
"""What a checkpoint may hold for nothing: a tied output matrix, old Llamas' rotary buffers."""


def convert(
    model: ModelEntry,
    checkpoint: Path,
    output: Path,
    *,
    tp_size: int | None = None,
    dtype: Dtype | None = None,
    quantization: Quantization | None = None,
    use_parallel_embedding: bool = False,
    allow_pickle: bool = False,
    progress: Progress | None = None,
) -> Manifest:
    """Write `output`: config.json, rank<r>.safetensors for every rank, manifest.json.

    The directory appears under its name when it is complete and on disk. If it is already there,
    made from the same inputs, nothing is done.

    Args:
        model: gives the architecture that the checkpoint must have, and the engine plan.
        checkpoint: directory of a Hugging Face checkpoint, which gives the shapes.
        output: directory to make.
        tp_size: ranks; the engine plan's if None, as for the next two.
        dtype: type of every stored tensor.
        quantization: int8 and int4 are only announced, trtllm-build carries them out.
        use_parallel_embedding: split the embedding table by vocabulary instead of repeating it.
        allow_pickle: open PyTorch's .bin files, too.
        progress: called after every block.

    Raises:
        CheckpointError: the checkpoint is damaged, incomplete, not the model's, or cannot be
            converted as asked.
        ConversionError: `output` exists with other content, is being written by another process,
            or the disk does not take it.
    """
    conversion = Conversion(
        model=model.name,
        architecture=model.architecture,
        tp_size=tp_size or model.engine.tp_size,
        dtype=dtype or model.engine.dtype,
        quantization=quantization or model.engine.quantization,
        use_parallel_embedding=use_parallel_embedding,
    )
    config, layout = plan_conversion(checkpoint, conversion)
    weights = open_weights(checkpoint, allow_pickle)
    check_sources(checkpoint, weights, layout)
    source = describe_source(checkpoint, [checkpoint / CONFIG_NAME, *weights.files])
    if output.exists():
        return existing_conversion(output, source, conversion)
    dtype_name = config.safetensors_dtype
    with partial_directory(output, layout.nbytes(dtype_name)) as partial:
        files = write_rank_files(
            partial, layout, weights.tensors, dtype_name, progress or _tell_nobody
        )
        text = json.dumps(config.model_dump(), indent=2) + "\n"
        files[CONFIG_NAME] = write_text(partial / CONFIG_NAME, text)
        manifest = Manifest(
            aeolus_version=version("aeolus"), source=source, conversion=conversion, files=files
        )
        manifest.write(partial)
    return manifest


def plan_conversion(checkpoint: Path, conversion: Conversion) -> tuple[TrtllmConfig, Layout]:
    """The config.json and the tensors that a conversion will write; reads only config.json.

    Raises:
        CheckpointError: the checkpoint is not the model's, or cannot be converted as asked.
    """
    source = read_huggingface_config(checkpoint)
    if source.architecture != conversion.architecture:
        raise CheckpointError(
            f"{checkpoint}: is a {source.architecture}, but {conversion.model} is a "
            f"{conversion.architecture}; name the model whose checkpoint this is"
        )
    try:
        translation = translate(
            source,
            tp_size=conversion.tp_size,
            dtype=conversion.dtype,
            quantization=conversion.quantization,
            use_parallel_embedding=conversion.use_parallel_embedding,
        )
    except CheckpointError as error:
        raise CheckpointError(f"{checkpoint}: {error}") from error
    layout = plan_layout(translation.config, translation.rotary_lanes, source.tie_word_embeddings)
    return translation.config, layout


def check_sources(checkpoint: Path, weights: HuggingFaceWeights, layout: Layout) -> None:
    """Refuse weights that are missing, of another shape, or would be left out.

    Raises:
        CheckpointError: there are such; the text names them.
    """
    expected = layout.sources
    if missing := [name for name in expected if name not in weights.tensors]:
        raise CheckpointError(
            f"{checkpoint}: {len(missing)} of {len(expected)} weights are missing: {few(missing)}; "
            "copy the checkpoint again, all its files"
        )
    for name, shape in expected.items():
        tensor = weights.tensors[name]
        if tensor.shape != shape:
            raise CheckpointError(
                f"{checkpoint}: {name}: has shape {list(tensor.shape)}, but config.json makes it "
                f"{list(shape)}; config.json and weights are not of one checkpoint"
            )
        if tensor.dtype not in DTYPES:
            raise CheckpointError(
                f"{checkpoint}: {name}: is of type {tensor.dtype}; only {', '.join(DTYPES)} can be "
                "converted; take a checkpoint that is not quantized"
            )
    unknown = [name for name in weights.tensors if name not in expected]
    if unknown := [name for name in unknown if not name.endswith(_IGNORED)]:
        raise CheckpointError(
            f"{checkpoint}: holds weights that a converted checkpoint would leave out: "
            f"{few(unknown)}; this is a variant of the architecture that cannot be converted"
        )


def existing_conversion(output: Path, source: Source, conversion: Conversion) -> Manifest:
    """Accept an existing output of the same inputs, with all its files.

    Raises:
        ConversionError: it is another conversion, or none.
    """
    remedy = "remove it, or choose another output"
    try:
        manifest = Manifest.read(output)
    except ManifestError as error:
        raise ConversionError(
            f"{output}: exists and is not a conversion ({error}); {remedy}"
        ) from (error)
    before = {"source": manifest.source.model_dump(), **manifest.conversion.model_dump()}
    now = {"source": source.model_dump(), **conversion.model_dump()}
    if changed := [name for name, value in now.items() if value != before[name]]:
        raise ConversionError(
            f"{output}: is a conversion with another {', another '.join(changed)}; {remedy}"
        )
    for name, file in manifest.files.items():
        path = output / name
        if not path.is_file() or path.stat().st_size != file.size:
            raise ConversionError(f"{path}: missing or damaged since the conversion; {remedy}")
    return manifest


def _tell_nobody(_done: int, _total: int) -> None:
    """Stand in for a progress that is not asked for."""
