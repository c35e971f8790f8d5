"""The config.json of a Hugging Face checkpoint."""

import json
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AliasChoices,
    BaseModel,
    ConfigDict,
    Field,
    PositiveFloat,
    PositiveInt,
    ValidationError,
    model_validator,
)

from build_engines.checkpoint.config_defaults import with_defaults
from build_engines.checkpoint.forms import other_content, other_form
from catalog import field_problems


class CheckpointError(ValueError):
    """A checkpoint cannot be used; the text says where, why, and what to do."""


class HuggingFaceConfig(BaseModel):
    """What a conversion depends on, under the names of transformers 4 and 5 alike.

    The fields that are fixed here are those whose other values change the arithmetic in a way that
    the weights and config.json of TensorRT-LLM's classes, as written here, do not express.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)

    architectures: Annotated[list[str], Field(min_length=1, max_length=1)]
    num_hidden_layers: PositiveInt
    hidden_size: PositiveInt
    intermediate_size: PositiveInt
    num_attention_heads: PositiveInt
    num_key_value_heads: PositiveInt
    head_dim: PositiveInt
    vocab_size: PositiveInt
    max_position_embeddings: PositiveInt
    norm_eps: PositiveFloat = Field(
        validation_alias=AliasChoices("rms_norm_eps", "layer_norm_eps", "norm_eps")
    )
    rope_parameters: dict[str, Any]
    """`rope_type`, `rope_theta`, `partial_rotary_factor` and what the type adds."""
    tie_word_embeddings: bool = False
    hidden_act: Literal["silu"] = "silu"
    attention_bias: Literal[False] = False
    mlp_bias: Literal[False] = False
    use_qkv_bias: Literal[False] = False
    qk_layernorm: Literal[False] = False
    use_parallel_residual: Literal[False] = False

    @property
    def architecture(self) -> str:
        """The transformers class of the checkpoint."""
        return self.architectures[0]

    @property
    def rope_theta(self) -> float:
        """Base of the rotary frequencies."""
        return float(self.rope_parameters["rope_theta"])

    @property
    def rotary_dim(self) -> int:
        """Lanes of a head that are rotated."""
        return int(self.head_dim * self.rope_parameters["partial_rotary_factor"])

    @model_validator(mode="before")
    @classmethod
    def _fill_in(cls, content: Any) -> Any:
        return with_defaults(content) if isinstance(content, dict) else content

    @model_validator(mode="after")
    def _heads_are_grouped(self) -> Self:
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError(
                f"num_key_value_heads {self.num_key_value_heads} does not divide "
                f"num_attention_heads {self.num_attention_heads}"
            )
        return self


def read_huggingface_config(checkpoint: Path) -> HuggingFaceConfig:
    """Read config.json of a Hugging Face checkpoint directory.

    Raises:
        CheckpointError: there is none, it is malformed, or it describes what cannot be converted:
            another form of checkpoint, quantized weights, biases, a parallel residual.
    """
    path = checkpoint / "config.json"
    if what := other_form(checkpoint):
        raise CheckpointError(f"{checkpoint}: {what}")
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(content, dict) and (what := other_content(content)):
            raise CheckpointError(f"{checkpoint}: {what}")
        return HuggingFaceConfig.model_validate(content)
    except CheckpointError:
        raise
    except OSError as error:
        raise CheckpointError(
            f"{path}: {error.strerror}; give the directory of a Hugging Face checkpoint"
        ) from error
    except ValidationError as error:
        raise CheckpointError(
            f"{path}: not a checkpoint that can be converted: {field_problems(error)}"
        ) from error
    except ValueError as error:
        raise CheckpointError(f"{path}: not JSON: {error}") from error
