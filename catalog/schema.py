"""The fields of a model's catalog file."""

from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PositiveInt, model_validator

Architecture = Literal["LlamaForCausalLM", "MistralForCausalLM", "StableLmForCausalLM"]
EngineDtype = Literal["float16", "bfloat16"]
Quantization = Literal["none", "int8", "int4", "fp8", "int4_awq"]
CALIBRATED: tuple[Quantization, ...] = ("fp8", "int4_awq")
"""What NVIDIA ModelOpt makes of a checkpoint; trtllm-build itself makes the others."""
KVCacheDtype = Literal["auto", "fp8"]
Runtime = Literal["executor", "cpp", "reference"]
GpuName = Literal["A10G", "A100-40", "A100-80", "H100", "H200"]
Probability = Annotated[float, Field(gt=0, le=1)]

TENSORRT_LLM_VERSION = "1.2.1"
"""The release that builds and runs the engines: the last stable one that builds engines at all."""


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)


class GenerationDefaults(_Table):
    """Values of Hugging Face `generate()` parameters that a request does not give."""

    max_new_tokens: PositiveInt
    temperature: Annotated[float, Field(ge=0)] = 1.0
    top_p: Probability = 1.0
    top_k: Annotated[int, Field(ge=0)] = 50
    num_beams: PositiveInt = 1
    repetition_penalty: Annotated[float, Field(gt=0)] = 1.0
    no_repeat_ngram_size: Annotated[int, Field(ge=0)] = 0
    do_sample: bool = True
    """Ignored where `num_beams` is above 1: beam search does not sample."""


class PredictApi(_Table):
    """The model's `predict` route as its README documents it."""

    input: Literal["prompt", "messages"]
    """The field that carries the conversation; `prompt` is continued as it stands."""
    length_parameter: Literal["max_new_tokens", "max_tokens"]
    """The README's name of the limit of new tokens; every spelling is accepted."""
    stream: bool
    """Whether a reply is streamed when the request does not say."""
    reply: Literal["output", "response", "string"]
    """A JSON object with this one key, or a bare JSON string."""
    return_full_text: bool
    """Whether a plain reply repeats the prompt; a streamed one never does."""
    skip_special_tokens: bool
    """Whether a plain reply leaves out `</s>` and the like; a streamed one always does."""
    max_length: PositiveInt
    """Most tokens of prompt and reply together."""
    defaults: GenerationDefaults


class ZephyrApp(_Table):
    """Defaults of the zephyr-7b-beta API's QueryModel and CodeDocQuery."""

    system_message: str
    code_doc_system_message: str
    structured_code_doc_system_message: str
    language: str
    include_comments: bool
    query: GenerationDefaults
    code_doc: GenerationDefaults


class Shape(_Table):
    """The checkpoint's dimensions, for planning before anything is downloaded."""

    num_hidden_layers: PositiveInt
    hidden_size: PositiveInt
    intermediate_size: PositiveInt
    num_attention_heads: PositiveInt
    num_key_value_heads: PositiveInt
    head_dim: PositiveInt
    vocab_size: PositiveInt
    max_position_embeddings: PositiveInt
    sliding_window: PositiveInt | None = None


class EnginePlan(_Table):
    """How the TensorRT-LLM engine is built, one GPU a tensor parallel rank."""

    dtype: EngineDtype
    tp_size: PositiveInt
    quantization: Quantization
    """Of the linear layers' weights; `int4` is rounded only, `int4_awq` calibrated."""
    kv_cache_dtype: KVCacheDtype = "auto"
    """`auto` is `dtype`."""
    gpu: GpuName
    max_batch_size: PositiveInt
    max_beam_width: PositiveInt
    max_seq_len: Annotated[int, Field(ge=2)]
    """Tokens of prompt and reply together."""
    max_num_tokens: PositiveInt
    gather_context_logits: bool = False
    """Whether the logits of prompts are kept, for the log probabilities of their tokens."""
    runtime: Runtime = "executor"
    """What serves it: TensorRT-LLM's executor from Python, NVIDIA's C++ backend, or the reference
    engine, which takes a checkpoint in the engine's place."""

    @model_validator(mode="after")
    def _cache_is_calibrated(self) -> Self:
        if self.kv_cache_dtype == "fp8" and self.quantization not in CALIBRATED:
            raise ValueError(f"kv_cache_dtype fp8 comes with {' or '.join(CALIBRATED)} only")
        return self

    @property
    def max_input_len(self) -> int:
        """Tokens of the longest prompt: one place is left for a new token."""
        return self.max_seq_len - 1


class ModelEntry(_Table):
    """One model: where its weights are, how it is called, how its engine is built."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9-]*$")]
    title: str
    checkpoint: Annotated[str, Field(pattern=r"^[\w.-]+/[\w.-]+$")]
    """Hugging Face repository of the weights."""
    gated: bool
    """Whether the repository asks for a licence agreement, hence for a token."""
    architecture: Architecture
    eos_token_ids: Annotated[list[int], Field(min_length=1)]
    """Every id that ends a reply (the checkpoint's generation_config.json)."""
    predict: PredictApi
    zephyr: ZephyrApp | None = None
    shape: Shape
    engine: EnginePlan
    variants: list[EnginePlan] = []
    """Plans for other hardware; a field that a variant leaves out is the engine's."""

    @property
    def engine_plans(self) -> list[EnginePlan]:
        """The default plan, then the variants."""
        return [self.engine, *self.variants]

    @model_validator(mode="before")
    @classmethod
    def _variants_inherit_from_the_engine(cls, content: Any) -> Any:
        match content:
            case {"engine": dict(engine), "variants": list(variants)}:
                inherited = [
                    {**engine, **variant} if isinstance(variant, dict) else variant
                    for variant in variants
                ]
                return {**content, "variants": inherited}
        return content

    @model_validator(mode="after")
    def _plans_fit_the_model(self) -> Self:
        self._check_plan("engine", self.engine)
        for index, variant in enumerate(self.variants):
            self._check_plan(f"variants.{index}", variant)
        return self

    def _check_plan(self, name: str, plan: EnginePlan) -> None:
        if self.shape.num_attention_heads % plan.tp_size:
            raise ValueError(
                f"{name}.tp_size {plan.tp_size} does not divide "
                f"shape.num_attention_heads {self.shape.num_attention_heads}"
            )
        if plan.max_seq_len > self.shape.max_position_embeddings:
            raise ValueError(
                f"{name}.max_seq_len {plan.max_seq_len} exceeds "
                f"shape.max_position_embeddings {self.shape.max_position_embeddings}"
            )
        if self.predict.max_length > plan.max_seq_len:
            raise ValueError(
                f"predict.max_length {self.predict.max_length} exceeds "
                f"{name}.max_seq_len {plan.max_seq_len}"
            )
        if self.predict.defaults.num_beams > plan.max_beam_width:
            raise ValueError(
                f"predict.defaults.num_beams {self.predict.defaults.num_beams} exceeds "
                f"{name}.max_beam_width {plan.max_beam_width}"
            )
