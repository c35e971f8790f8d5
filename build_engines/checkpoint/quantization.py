"""The quantization of a TensorRT-LLM checkpoint, and what it makes of a plain tensor.

Names, forms and defaults: NVIDIA/TensorRT-LLM, tensorrt_llm/models/modeling_utils.py
(QuantConfig, preprocess_weights) and tensorrt_llm/quantization/layers.py; ModelOpt's export writes
the same (nvidia-modelopt, modelopt/torch/export).
"""

from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field, PositiveInt

from build_engines.checkpoint.split import Shape
from catalog.schema import KVCacheDtype
from catalog.schema import Quantization as QuantizationName

QUANT_ALGORITHMS: dict[QuantizationName, str | None] = {
    "none": None,
    "int8": "W8A16",
    "int4": "W4A16",
    "fp8": "FP8",
    "int4_awq": "W4A16_AWQ",
}
"""TensorRT-LLM's name for each quantization of the catalog."""
CACHE_ALGORITHMS: dict[KVCacheDtype, str | None] = {"auto": None, "fp8": "FP8"}
"""TensorRT-LLM's name for each type of the KV cache in the catalog."""

KNOWN_ALGORITHMS = ("W8A16", "W4A16", "FP8", "W4A16_AWQ")
KNOWN_CACHE_ALGORITHMS = ("FP8", "INT8")

NOT_QUANTIZED = ("*lm_head", "*vocab_embedding")
"""Modules that TensorRT-LLM leaves alone where a config does not say which, of those served."""

_SCALES = frozenset({"F32"})


class ClosedTable(BaseModel):
    """A block of a config.json in which TensorRT-LLM refuses a key that it does not know."""

    model_config = ConfigDict(extra="allow", frozen=True)
    unused_keys: ClassVar[frozenset[str]]

    @property
    def unknown_keys(self) -> list[str]:
        """The keys that are a TypeError in TensorRT-LLM."""
        return sorted((self.model_extra or {}).keys() - self.unused_keys)


@dataclass(frozen=True, slots=True)
class ExpectedTensor:
    """A tensor of a rank's file; types as safetensors names them, any of which will do."""

    shape: Shape
    dtypes: frozenset[str]
    is_optional: bool = False


class Quantization(ClosedTable):
    """Form of the weights and the KV cache.

    trtllm-build quantizes plain weights itself for W8A16 and W4A16; FP8 and AWQ weights and the
    scales of a quantized cache are in the checkpoint.
    """

    unused_keys = frozenset(
        {"smoothquant_val", "clamp_val", "use_meta_recipe", "mamba_ssm_cache_dtype"}
    )

    quant_algo: str | None = None
    kv_cache_quant_algo: str | None = None
    # What only ModelOpt writes; the checkpoints written here need none of it.
    group_size: Annotated[PositiveInt, Field(exclude=True)] = 128
    """Inputs of a linear layer that share a scale, with AWQ."""
    has_zero_point: Annotated[bool | None, Field(exclude=True)] = False
    pre_quant_scale: Annotated[bool | None, Field(exclude=True)] = False
    exclude_modules: Annotated[list[str] | None, Field(exclude=True)] = None
    """Patterns of modules that are not quantized."""

    def require_known(self) -> None:
        """Refuse what `stored` does not describe.

        Raises:
            ValueError: the form of the weights or of the cache is another.
        """
        for field, known in (
            ("quant_algo", KNOWN_ALGORITHMS),
            ("kv_cache_quant_algo", KNOWN_CACHE_ALGORITHMS),
        ):
            if (value := getattr(self, field)) not in (None, *known):
                raise ValueError(f"{field} {value} cannot be read; these can: {', '.join(known)}")
        if self.has_zero_point:
            raise ValueError("weights with a zero point (has_zero_point) cannot be read")
        if self.quant_algo == "W4A16_AWQ" and not self.pre_quant_scale:
            raise ValueError(
                "W4A16_AWQ without pre_quant_scale: TensorRT-LLM would leave out the scales of "
                "the inputs"
            )

    @property
    def has_quantized_weights(self) -> bool:
        """Whether the checkpoint holds other numbers than its source, not only an announcement."""
        return self.quant_algo in ("FP8", "W4A16_AWQ")

    def is_quantized(self, name: str, shape: Shape) -> bool:
        """Whether the checkpoint holds this tensor, of this plain shape, in a quantized form."""
        module, _, kind = name.rpartition(".")
        is_linear = kind == "weight" and len(shape) == 2 and not module.endswith("vocab_embedding")
        patterns = NOT_QUANTIZED if self.exclude_modules is None else self.exclude_modules
        return (
            self.has_quantized_weights
            and is_linear
            and not any(fnmatchcase(module, pattern) for pattern in patterns)
        )

    def stored(self, name: str, shape: Shape, dtype: str) -> dict[str, ExpectedTensor]:
        """Return the tensors that a rank's file holds for a plain one.

        Args:
            name: of the plain tensor, TensorRT-LLM's.
            shape: of one rank's share.
            dtype: of what is not quantized, as safetensors names it.
        """
        if self.is_quantized(name, shape):
            tensors = self._quantized(name, shape, dtype)
        else:
            tensors = {name: ExpectedTensor(shape, frozenset({dtype}))}
        if self.kv_cache_quant_algo and name.endswith("attention.qkv.weight"):
            prefix = name.removesuffix("qkv.weight")
            tensors[f"{prefix}kv_cache_scaling_factor"] = ExpectedTensor((1,), _SCALES)
            for one in "kv":  # TensorRT-LLM takes the larger one where the common one is missing
                scale = ExpectedTensor((1,), _SCALES, is_optional=True)
                tensors[f"{prefix}{one}_cache_scaling_factor"] = scale
        return tensors

    def _quantized(self, name: str, shape: Shape, dtype: str) -> dict[str, ExpectedTensor]:
        outputs, inputs = shape
        prefix = name.removesuffix("weight")
        if self.quant_algo == "FP8":
            return {
                # FP8 bytes may be stored under either type.
                name: ExpectedTensor(shape, frozenset({"F8_E4M3", "I8"})),
                f"{prefix}weights_scaling_factor": ExpectedTensor((1,), _SCALES),
                f"{prefix}activation_scaling_factor": ExpectedTensor((1,), _SCALES),
            }
        groups = -(-inputs // self.group_size)
        return {
            # Outputs 2i and 2i + 1 are the low and the high half of byte i.
            name: ExpectedTensor((outputs // 2, inputs), frozenset({"I8", "U8"})),
            f"{prefix}weights_scaling_factor": ExpectedTensor(
                (outputs, groups), frozenset({"F32", dtype})
            ),
            f"{prefix}prequant_scaling_factor": ExpectedTensor((inputs,), frozenset({dtype})),
        }
