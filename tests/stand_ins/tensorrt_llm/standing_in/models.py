"""What computes the tokens behind the stand-in's executor.

The engine's `rank0.engine` names it, as JSON: `{"checkpoint": directory}` for the reference
engine's model. What it says of a pace is for `standing_in.paced`.
"""

import json
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Protocol

from engine_step.interface import (
    EngineRequest,
    EngineStatistics,
    SamplingConfig,
    TokenEvent,
)
from guided_decoding.guide import Guide, read_guide
from reference_engine.config import EngineConfig
from reference_engine.engine import ReferenceEngine

Emit = Callable[[TokenEvent], None]


class Model(Protocol):
    """Continues prompts; the events of a request come from the model's own thread."""

    def start(self, request: EngineRequest, emit: Emit) -> None:
        """Begin a request."""

    def cancel(self, request_id: str) -> None:
        """End one with a final event."""

    def context_logits(self, prompt: list[int]) -> Any:
        """Return the logits after each token, float32 [tokens, vocabulary]."""

    def statistics(self) -> EngineStatistics:
        """Return the current counts."""

    def close(self) -> None:
        """End all."""


def open_model(engine: Path, max_batch_size: int, max_beam_width: int) -> Model:
    """Open what `rank0.engine` names, with the limits of the engine's config.json."""
    found = json.loads((engine / "rank0.engine").read_text(encoding="utf-8"))
    limits = json.loads((engine / "config.json").read_text(encoding="utf-8"))["build_config"]
    return ReferenceModel(
        Path(found["checkpoint"]), limits["max_seq_len"], max_batch_size, max_beam_width
    )


class ReferenceModel:
    """The reference engine, exact, in float32."""

    def __init__(
        self, checkpoint: Path, max_seq_len: int, max_batch_size: int, max_beam_width: int
    ) -> None:
        self._checkpoint = checkpoint
        self._engine = ReferenceEngine(
            EngineConfig.resolve(
                checkpoint,
                max_seq_len=max_seq_len,
                max_batch_size=max(max_batch_size, max_beam_width),
                max_beam_width=max_beam_width,
                # A small cache even where the engine was planned for a GPU's.
                max_tokens_in_paged_kv_cache=32 * 1024,
                dtype="float32",
            )
        )

    def start(self, request: EngineRequest, emit: Emit) -> None:
        self._engine.submit(request, emit)

    def cancel(self, request_id: str) -> None:
        self._engine.cancel(request_id)

    def context_logits(self, prompt: list[int]) -> Any:
        import torch

        with torch.inference_mode():
            return self._transformers(torch.tensor([prompt])).logits[0]

    @cached_property
    def _transformers(self) -> Any:
        """The same model; the engine itself hands out no logits."""
        from transformers import AutoModelForCausalLM

        return AutoModelForCausalLM.from_pretrained(self._checkpoint, dtype="float32")

    def statistics(self) -> EngineStatistics:
        return self._engine.statistics()

    def close(self) -> None:
        self._engine.shutdown()


def engine_request(request: Any, name: str, sequence: int) -> EngineRequest:
    """Translate a request as the C++ executor reads it, with its defaults for what is absent."""
    asked = request.given()
    sampling = asked["sampling_config"].given()
    config = SamplingConfig(
        beam_width=sampling["beam_width"],
        temperature=_or(sampling["temperature"], 1.0),
        top_k=_or(sampling["top_k"], 0),
        top_p=_or(sampling["top_p"], 0.0),
        min_p=_or(sampling["min_p"], 0.0),
        top_p_decay=_or(sampling["top_p_decay"], 1.0),
        top_p_min=_or(sampling["top_p_min"], 1e-6),
        top_p_reset_id=sampling["top_p_reset_ids"],
        seed=_or(sampling["seed"], 0) + sequence,
        repetition_penalty=_or(sampling["repetition_penalty"], 1.0),
        presence_penalty=_or(sampling["presence_penalty"], 0.0),
        frequency_penalty=_or(sampling["frequency_penalty"], 0.0),
        min_tokens=_or(sampling["min_tokens"], 0),
        no_repeat_ngram_size=_or(sampling["no_repeat_ngram_size"], 0),
        len_penalty=_or(sampling["length_penalty"], 0.0),
        early_stopping=_or(sampling["early_stopping"], 1),
        beam_search_diversity_rate=_or(sampling["beam_search_diversity_rate"], 0.0),
    )
    bias = asked["embedding_bias"]
    return EngineRequest(
        request_id=name,
        input_ids=asked["input_token_ids"],
        request_output_len=asked["max_tokens"],
        end_id=_or(asked["end_id"], -1),
        pad_id=_or(asked["pad_id"], 0),
        stop_words=_or(asked["stop_words"], []),
        bad_words=_or(asked["bad_words"], []),
        embedding_bias=None if bias is None else bias.numpy(),
        sampling=config,
        return_log_probs=asked["output_config"].return_log_probs is True,
        streaming=asked["streaming"],
        exclude_input_in_output=True,
        guide=_guide(asked["guided_decoding_params"]),
    )


def _guide(params: Any) -> Guide | None:
    return None if params is None else read_guide(params.guide_type.name.lower(), params.guide)


def _or(value: Any, default: Any) -> Any:
    return default if value is None else value
