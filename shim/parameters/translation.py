"""From the parameters of a request to what the ensemble is asked for."""

import math
import secrets
from dataclasses import replace
from typing import Any

from aeolus_client import GenerationRequest, Message
from catalog import GenerationDefaults, ModelEntry
from shim.parameters.parameters import Parameters
from shim.parameters.problems import InvalidParametersError, Problem, quote
from shim.parameters.resolved import ResolvedParameters
from shim.parameters.table import OnlyValue, Row, generate_map

SEEDS = 2**64
NATIVE = [row for row in generate_map().values() if row.category == "native"]
LIMITED_BY_ENGINE = [row for row in NATIVE if row.only]
READ = {row.name for row in NATIVE}


def generation_request(resolved: ResolvedParameters, model: ModelEntry) -> GenerationRequest:
    """Translate checked parameters for their model."""
    api, parameters = model.predict, resolved.given
    values = (
        _defaults(api.defaults)
        | parameters.model_dump(include=READ, exclude_none=True)
        | {
            "max_new_tokens": resolved.max_new_tokens,
            "num_beams": resolved.num_beams,
            # A reply that may be cut by time must be there before its end.
            "stream": resolved.is_streamed or parameters.max_time is not None,
        }
    )
    if resolved.decoding == "sampling":
        values.setdefault("seed", secrets.randbits(63))
    max_length = parameters.max_length or api.max_length
    request = GenerationRequest(
        text_input=parameters.prompt,
        messages=_messages(parameters, model),
        max_length=min(max_length, api.max_length),
        exclude_input_in_output=not resolved.is_full_text,
        skip_special_tokens=resolved.skip_special_tokens,
        **(_native_fields(values, resolved.decoding) | _token_fields(parameters)),
        **_guide_fields(parameters),
    )
    return replace(request, top_k=1) if resolved.decoding == "greedy" else request


def sequences_of(request: GenerationRequest, count: int) -> list[GenerationRequest]:
    """Return the requests for `count` sequences; their seeds count up from the request's.

    A beam search finds them in one.
    """
    if (request.beam_width or 1) > 1:
        return [request]
    return [
        replace(
            request,
            seed=None if request.seed is None else (request.seed + index) % SEEDS,
            request_id=f"{request.request_id}-{index}" if index else request.request_id,
        )
        for index in range(count)
    ]


def is_limited_by_engine(request: GenerationRequest) -> bool:
    """Whether a request has values that not every engine acts by."""
    return any(getattr(request, str(row.becomes)) is not None for row in LIMITED_BY_ENGINE)


def check_engine(request: GenerationRequest, engine: str) -> None:
    """Refuse values that the engine behind a deployment would act against.

    Args:
        request: what would be sent.
        engine: its name in the configuration of preprocessing.

    Raises:
        InvalidParametersError: 422 with every such value.
    """
    problems = []
    for row in LIMITED_BY_ENGINE:
        value = getattr(request, str(row.becomes))
        only = row.only.get(engine)
        if only is not None and value not in (None, only.value):
            problems.append(Problem(row.name, f"{quote(value)} is refused: {_always(row, only)}"))
    if problems:
        raise InvalidParametersError(problems)


def _always(row: Row, only: OnlyValue) -> str:
    return f"{only.reason}, and always acts by {row.decode(only.value)}"


def _defaults(defaults: GenerationDefaults) -> dict[str, Any]:
    return {name: value for name, value in defaults.model_dump().items() if name in READ}


def _native_fields(values: dict[str, Any], decoding: str) -> dict[str, Any]:
    return {
        str(row.becomes): row.encode(values[row.name])
        for row in NATIVE
        if row.name in values
        and row.when in ("always", decoding)
        and not row.is_neutral(values[row.name])
    }


def _token_fields(parameters: Parameters) -> dict[str, Any]:
    """Return the fields of the parameters that are made of tokens and texts."""
    end_ids = parameters.eos_token_id
    return {
        "input_ids": parameters.token_ids,
        "stop": parameters.stop_strings or parameters.stop or None,
        "include_stop_str_in_output": bool(parameters.stop_strings),
        "end_ids": None if end_ids is None else _of_the_vocabulary(end_ids),
        "embedding_bias": _embedding_bias(parameters) or None,
    }


def _guide_fields(parameters: Parameters) -> dict[str, Any]:
    kind, text = parameters.guide or (None, None)
    return {"guided_decoding_guide_type": kind, "guided_decoding_guide": text}


def _embedding_bias(parameters: Parameters) -> dict[int, float]:
    bias: dict[int, float] = {}
    for (token_id,), weight in parameters.sequence_bias or []:
        bias[token_id] = weight  # the last one holds, as in transformers
    for key, weight in (parameters.logit_bias or {}).items():
        bias[int(key)] = bias.get(int(key), 0) + weight
    banned = _of_the_vocabulary(parameters.suppress_tokens or [])
    return bias | dict.fromkeys(banned, -math.inf)


def _of_the_vocabulary(token_ids: list[int]) -> list[int]:
    return [token_id for token_id in token_ids if token_id >= 0]


def _messages(parameters: Parameters, model: ModelEntry) -> list[Message] | None:
    if parameters.messages is not None:
        return [Message(role=turn.role, content=turn.text) for turn in parameters.messages]
    if parameters.user_message is not None and model.zephyr is not None:
        system_message = parameters.system_message
        if system_message is None:
            system_message = model.zephyr.system_message
        return [
            Message(role="system", content=system_message),
            Message(role="user", content=parameters.user_message),
        ]
    return None
