"""Hugging Face's parameters as the fields of a request to the ensemble."""

import json
import math
from collections.abc import Callable, Mapping
from typing import Any

from aeolus_client.backend import TextRequest
from aeolus_client.errors import InvalidRequestError
from aeolus_client.generation import GenerationRequest
from aeolus_contract.parameters import sampling_parameters

DEFAULT_MAX_TOKENS = 512
SAMPLING = {
    row.generate.name: row for row in sampling_parameters().values() if row.generate is not None
}
"""The rows of the contract's table by Hugging Face's name."""
AS_THEY_ARE = (
    *("add_generation_prompt", "continue_final_message", "max_length", "priority"),
    *("skip_special_tokens", "split_special_tokens"),
)
"""Fields of GenerationRequest under Hugging Face's name."""
Fields = dict[str, Any]


def generation_request(request: TextRequest, *, stream: bool = False) -> GenerationRequest:
    """Translate Hugging Face's names into the ensemble's.

    Raises:
        InvalidRequestError: a value has another form; or a parameter has no tensor, and only the
            service's REST routes take it.
    """
    given = {name: value for name, value in request.parameters.items() if value is not None}
    greedy = given.pop("do_sample", None) is False or given.get("temperature") == 0
    fields: Fields = {"max_tokens": DEFAULT_MAX_TOKENS}
    bias: dict[int, float] = {}
    for name, value in given.items():
        try:
            new = _fields(name, value, greedy)
        except (TypeError, ValueError, KeyError, AttributeError) as error:
            raise InvalidRequestError(f"{name} cannot be {value!r}: {error}") from error
        for token, weight in new.pop("embedding_bias", {}).items():
            bias[token] = bias.get(token, 0.0) + weight
        fields |= new
    if greedy:
        fields["top_k"] = 1
    return GenerationRequest(
        text_input=request.text,
        messages=request.messages,
        stream=stream,
        embedding_bias=bias or None,
        **fields,
    )


def _fields(name: str, value: Any, greedy: bool) -> Fields:
    if name in READERS:
        return READERS[name](value)
    if name in AS_THEY_ARE:
        return {name: value}
    if name not in SAMPLING:
        raise InvalidRequestError(f"{name}: Triton has no tensor for it; ask a service by REST")
    row = SAMPLING[name]
    assert row.generate is not None
    if greedy and row.generate.when == "sampling":
        return {}
    encoding = row.generate.encoding
    return {row.name: encoding[str(value).lower()] if encoding else value}


def _max_tokens(value: Any) -> Fields:
    return {"max_tokens": value}


def _stop(value: Any) -> Fields:
    return {"stop": [value] if isinstance(value, str) else _texts(value)}


def _stop_strings(value: Any) -> Fields:
    return {**_stop(value), "include_stop_str_in_output": True}


def _end_ids(value: Any) -> Fields:
    return {"end_ids": _ids(value)}


def _bad_words_ids(value: Any) -> Fields:
    return {"bad_words_ids": [_ids(each) for each in value]}


def _suppress_tokens(value: Any) -> Fields:
    return {"embedding_bias": dict.fromkeys(_ids(value), -math.inf)}


def _sequence_bias(value: Any) -> Fields:
    pairs = value.items() if isinstance(value, Mapping) else value
    bias = {}
    for tokens, weight in pairs:
        (token,) = _ids(tokens)  # single tokens only
        bias[token] = float(weight)
    return {"embedding_bias": bias}


def _logit_bias(value: Any) -> Fields:
    return {"embedding_bias": {int(token): float(weight) for token, weight in value.items()}}


def _response_format(value: Any) -> Fields:
    match value:
        case {"type": "text"}:
            return {}
        case {"type": "json_object"}:
            return _guide("json_schema", {"type": "object"})
        case {"type": "json_schema", "json_schema": {"schema": schema}}:
            return _guide("json_schema", schema)
    raise ValueError("its type is text, json_object, or json_schema with json_schema.schema")


def _guided_decoding(value: Any) -> Fields:
    return _guide(value["type"], value.get("guide"))


def _guide(kind: str, guide: Any) -> Fields:
    is_text = guide is None or isinstance(guide, str)
    return {
        "guided_decoding_guide_type": kind,
        "guided_decoding_guide": guide if is_text else json.dumps(guide, ensure_ascii=False),
    }


READERS: Mapping[str, Callable[[Any], Fields]] = {
    "bad_words_ids": _bad_words_ids,
    "eos_token_id": _end_ids,
    "guided_decoding": _guided_decoding,
    "logit_bias": _logit_bias,
    "max_new_tokens": _max_tokens,
    "max_tokens": _max_tokens,
    "response_format": _response_format,
    "sequence_bias": _sequence_bias,
    "stop": _stop,
    "stop_strings": _stop_strings,
    "suppress_tokens": _suppress_tokens,
}


def _ids(value: Any) -> list[int]:
    """Return token ids, given as one or several; -1 is none of the vocabulary's."""
    ids = [value] if isinstance(value, int) else list(value)
    if not all(isinstance(each, int) and not isinstance(each, bool) for each in ids):
        raise TypeError("not token ids")
    return [each for each in ids if each >= 0]


def _texts(value: Any) -> list[str]:
    texts = list(value)
    if not all(isinstance(each, str) for each in texts):
        raise TypeError("not texts")
    return texts
