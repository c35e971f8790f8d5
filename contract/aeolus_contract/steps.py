"""The tensors of the ensemble and its three steps, and how they are connected.

Names, types and shapes are those of NVIDIA/TensorRT-LLM,
triton_backend/all_models/inflight_batcher_llm, and in their manner for what theirs does not have.
The tensor part of every config.pbtxt is rendered from here (`rendering`).
"""

from dataclasses import dataclass, field

from aeolus_contract.parameters import Dtype, engine_parameters, sampling_parameters

ENSEMBLE = "ensemble"
PREPROCESSING = "preprocessing"
ENGINE = "tensorrt_llm"
POSTPROCESSING = "postprocessing"


@dataclass(frozen=True, slots=True)
class Tensor:
    """A tensor of a step, and the ensemble's tensor that it is connected to.

    Tensors whose ensemble name begins with an underscore stay inside the ensemble; the others are
    its inputs and outputs. An engine's input of one value loses its second dimension, as the C++
    backend wants it.
    """

    name: str
    dtype: Dtype
    ensemble: str | None = None
    """`None`: not connected; only direct callers of the step use it."""
    dims: tuple[int, ...] = (1,)
    is_optional: bool = True


@dataclass(frozen=True, slots=True)
class Step:
    """A model that the ensemble runs."""

    model: str
    inputs: list[Tensor] = field(default_factory=list)
    outputs: list[Tensor] = field(default_factory=list)
    scalars_without_dims: bool = False


def steps() -> list[Step]:
    """Return the steps in the order of the data."""
    return [_preprocessing(), _engine(), _postprocessing()]


def ensemble_inputs() -> list[Tensor]:
    """Return the ensemble's inputs, each once: what no step makes."""
    made = {each.ensemble for step in steps() for each in step.outputs}
    return _outer([each for step in steps() for each in step.inputs if each.ensemble not in made])


def ensemble_outputs() -> list[Tensor]:
    """Return the ensemble's outputs: of one name, the last step's."""
    return _outer([each for step in reversed(steps()) for each in step.outputs])


def _outer(tensors: list[Tensor]) -> list[Tensor]:
    found: dict[str, Tensor] = {}
    for each in tensors:
        if each.ensemble and not each.ensemble.startswith("_") and each.ensemble not in found:
            found[each.ensemble] = Tensor(
                each.ensemble, each.dtype, each.ensemble, each.dims, each.is_optional
            )
    return list(found.values())


def _preprocessing() -> Step:
    sampling = sampling_parameters().values()
    return Step(
        PREPROCESSING,
        inputs=[
            Tensor("QUERY", "BYTES", "text_input"),
            Tensor("MESSAGES", "BYTES", "messages"),
            Tensor("INPUT_IDS", "INT32", "input_ids", (-1,)),
            Tensor("REQUEST_OUTPUT_LEN", "INT32", "max_tokens", is_optional=False),
            Tensor("MAX_LENGTH", "INT32", "max_length"),
            Tensor("BAD_WORDS_DICT", "BYTES", "bad_words", (-1,)),
            Tensor("STOP_WORDS_DICT", "BYTES", "stop_words", (-1,)),
            Tensor("BAD_WORDS_ID_LISTS", "BYTES", "bad_words_ids"),
            Tensor("EMBEDDING_BIAS_WORDS", "BYTES", "embedding_bias_words", (-1,)),
            Tensor("EMBEDDING_BIAS_WEIGHTS", "FP32", "embedding_bias_weights", (-1,)),
            Tensor("EMBEDDING_BIAS_IDS", "INT32", "embedding_bias_ids", (-1,)),
            Tensor("EMBEDDING_BIAS_ID_WEIGHTS", "FP32", "embedding_bias_id_weights", (-1,)),
            Tensor("END_ID", "INT32", "end_id"),
            Tensor("PAD_ID", "INT32", "pad_id"),
            *(Tensor(row.name.upper(), row.dtype, row.name) for row in sampling),
            *(Tensor(name.upper(), "BYTES", name) for name in GUIDE),
            Tensor("RETURN_LOG_PROBS", "BOOL", "return_log_probs"),
            Tensor("STREAM", "BOOL", "stream"),
        ],
        outputs=[
            Tensor("INPUT_ID", "INT32", "_input_ids", (-1,)),
            Tensor("REQUEST_INPUT_LEN", "INT32", "_input_lengths"),
            # For encoder-decoder engines; NVIDIA's clients pass them to whatever engine there is.
            Tensor("DECODER_INPUT_ID", "INT32", None, (-1,)),
            Tensor("REQUEST_DECODER_INPUT_LEN", "INT32", None),
            Tensor("REQUEST_OUTPUT_LEN", "INT32", "_request_output_len"),
            Tensor("OUT_END_ID", "INT32", "_end_id"),
            Tensor("OUT_PAD_ID", "INT32", "_pad_id"),
            Tensor("STOP_WORDS_IDS", "INT32", "_stop_words_list", (2, -1)),
            Tensor("STOP_WORDS_TEXTS", "BYTES", "_stop_words_texts", (-1,)),
            Tensor("BAD_WORDS_IDS", "INT32", "_bad_words_list", (2, -1)),
            Tensor("EMBEDDING_BIAS", "FP32", "_embedding_bias", (-1,)),
            *(
                Tensor(f"OUT_{row.name.upper()}", row.dtype, f"_{engine.tensor}")
                for row, engine in engine_parameters()
            ),
            *(Tensor(f"OUT_{name.upper()}", "BYTES", f"_{name}") for name in GUIDE),
            Tensor("OUT_RETURN_PERF_METRICS", "BOOL", "_return_perf_metrics"),
        ],
    )


def _engine() -> Step:
    return Step(
        ENGINE,
        scalars_without_dims=True,
        inputs=[
            Tensor("input_ids", "INT32", "_input_ids", (-1,), is_optional=False),
            Tensor("input_lengths", "INT32", "_input_lengths", is_optional=False),
            Tensor("request_output_len", "INT32", "_request_output_len", is_optional=False),
            Tensor("decoder_input_ids", "INT32", None, (-1,)),
            Tensor("decoder_input_lengths", "INT32", None),
            Tensor("end_id", "INT32", "_end_id"),
            Tensor("pad_id", "INT32", "_pad_id"),
            Tensor("stop_words_list", "INT32", "_stop_words_list", (2, -1)),
            Tensor("stop_words_texts", "BYTES", "_stop_words_texts", (-1,)),
            Tensor("bad_words_list", "INT32", "_bad_words_list", (2, -1)),
            Tensor("embedding_bias", "FP32", "_embedding_bias", (-1,)),
            *(
                Tensor(engine.tensor, row.dtype, f"_{engine.tensor}")
                for row, engine in engine_parameters()
            ),
            *(Tensor(name, "BYTES", f"_{name}") for name in GUIDE),
            *(Tensor(name, "INT32", None) for name in ENGINE_INPUTS_OF_OTHER_CLIENTS),
            Tensor("return_log_probs", "BOOL", "return_log_probs"),
            Tensor("return_perf_metrics", "BOOL", "_return_perf_metrics"),
            Tensor("exclude_input_in_output", "BOOL", "exclude_input_in_output"),
            Tensor("return_num_input_tokens", "BOOL", "return_num_input_tokens"),
            Tensor("return_num_output_tokens", "BOOL", "return_num_output_tokens"),
            Tensor("streaming", "BOOL", "stream"),
            Tensor("stop", "BOOL", None),
        ],
        outputs=[
            Tensor("output_ids", "INT32", "_output_ids", (-1, -1)),
            Tensor("sequence_length", "INT32", "sequence_length", (-1,)),
            Tensor("finish_reason", "BYTES", "_finish_reason", (-1,)),
            Tensor("stop_words_texts", "BYTES", "_echoed_stop_words_texts", (-1,)),
            Tensor("num_echoed_tokens", "INT32", "_num_echoed_tokens"),
            Tensor("cum_log_probs", "FP32", "cum_log_probs", (-1,)),
            Tensor("output_log_probs", "FP32", "output_log_probs", (-1, -1)),
            Tensor("batch_index", "INT32", "batch_index"),
            Tensor("num_input_tokens", "INT32", "num_input_tokens"),
            Tensor("num_output_tokens", "INT32", "num_output_tokens"),
            *LOG_PROBS_OF_OTHERS,
            *PERF_METRICS,
        ],
    )


GUIDE = ("guided_decoding_guide_type", "guided_decoding_guide")
"""What a reply must match: see `guided_decoding.guide`."""

ENGINE_INPUTS_OF_OTHER_CLIENTS = ("num_return_sequences", "min_length")
"""Inputs of the engine step that no ensemble of ours connects."""

LOG_PROBS_OF_OTHERS = (
    Tensor("prompt_ids", "INT32", "_prompt_ids", (-1,)),
    Tensor("prompt_log_probs", "FP32", "prompt_log_probs", (-1,)),
    Tensor("prompt_top_ids", "INT32", "_prompt_top_ids", (-1, -1)),
    Tensor("prompt_top_log_probs", "FP32", "prompt_top_log_probs", (-1, -1)),
    Tensor("output_top_ids", "INT32", "_output_top_ids", (-1, -1)),
    Tensor("output_top_log_probs", "FP32", "output_top_log_probs", (-1, -1)),
)
"""The engine's outputs that `prompt_logprobs` and `top_logprobs` add: of the prompt, once, and of
the likeliest tokens in the places of those in the response."""

OUR_ENGINE_INPUTS = ("stop_words_texts",)
"""Inputs of the engine step that NVIDIA's C++ backend does not have."""

OUR_ENGINE_OUTPUTS = (
    *("finish_reason", "stop_words_texts", "num_echoed_tokens"),
    *(each.name for each in LOG_PROBS_OF_OTHERS),
)
"""Outputs of it that the C++ backend does not send."""

PERF_METRICS = (
    Tensor("kv_cache_alloc_new_blocks", "INT32"),
    Tensor("kv_cache_reused_blocks", "INT32"),
    Tensor("kv_cache_alloc_total_blocks", "INT32"),
    Tensor("arrival_time_ns", "INT64", "_arrival_time_ns"),
    Tensor("first_scheduled_time_ns", "INT64"),
    Tensor("first_token_time_ns", "INT64"),
    Tensor("last_token_time_ns", "INT64", "_last_token_time_ns"),
    Tensor("acceptance_rate", "FP32"),
    Tensor("total_accepted_draft_tokens", "INT32"),
    Tensor("total_draft_tokens", "INT32"),
)
"""The engine's outputs that `return_perf_metrics` adds."""


def _postprocessing() -> Step:
    return Step(
        POSTPROCESSING,
        inputs=[
            Tensor("TOKENS_BATCH", "INT32", "_output_ids", (-1, -1), is_optional=False),
            Tensor("SEQUENCE_LENGTH", "INT32", "sequence_length", (-1,), is_optional=False),
            Tensor("ARRIVAL_TIME_NS", "INT64", "_arrival_time_ns"),
            Tensor("LAST_TOKEN_TIME_NS", "INT64", "_last_token_time_ns"),
            Tensor("FINISH_REASON", "BYTES", "_finish_reason", (-1,)),
            Tensor("STOP_WORDS", "BYTES", "_echoed_stop_words_texts", (-1,)),
            Tensor("NUM_ECHOED_TOKENS", "INT32", "_num_echoed_tokens"),
            Tensor("BATCH_INDEX", "INT32", "batch_index"),
            Tensor("NUM_INPUT_TOKENS", "INT32", "num_input_tokens"),
            Tensor("PROMPT_IDS", "INT32", "_prompt_ids", (-1,)),
            Tensor("PROMPT_TOP_IDS", "INT32", "_prompt_top_ids", (-1, -1)),
            Tensor("OUTPUT_TOP_IDS", "INT32", "_output_top_ids", (-1, -1)),
        ],
        outputs=[
            Tensor("OUTPUT", "BYTES", "text_output", (-1,)),
            Tensor("PENDING", "BYTES", "text_pending", (-1,)),
            Tensor("STOP_REASON", "BYTES", "stop_reason", (-1,)),
            Tensor("FINISH_REASON", "BYTES", "finish_reason", (-1,)),
            Tensor("OUTPUT_IDS", "INT32", "output_ids", (-1, -1)),
            Tensor("PROMPT_TEXTS", "BYTES", "prompt_texts", (-1,)),
            Tensor("PROMPT_TOP_TEXTS", "BYTES", "prompt_top_texts", (-1, -1)),
            Tensor("OUTPUT_TOP_TEXTS", "BYTES", "output_top_texts", (-1, -1)),
        ],
    )
