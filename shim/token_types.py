"""The JSON forms of tokens in parameters: lists of ids, biases of tokens."""

from typing import Annotated, Any

from pydantic import AfterValidator, BeforeValidator, Field, WithJsonSchema
from pydantic_core import PydanticCustomError

MAX_TOKEN_ID = 2**31 - 1

TokenId = Annotated[int, Field(ge=0, le=MAX_TOKEN_ID)]


def _as_list(value: object) -> object:
    return [value] if isinstance(value, int | str) and not isinstance(value, bool) else value


def _one_row(value: object) -> object:
    """Hugging Face's prompts are rows of a batch; a request is one of them."""
    if isinstance(value, list) and value and all(isinstance(row, list) for row in value):
        if len(value) > 1:
            raise PydanticCustomError(
                "rows",
                "A request holds one prompt; send the {count} rows apart",
                {"count": len(value)},
            )
        return value[0]
    return value


def _single_tokens(pairs: list[tuple[list[int], float]]) -> list[tuple[list[int], float]]:
    for sequence, _ in pairs:
        if len(sequence) > 1:
            raise PydanticCustomError(
                "several_tokens",
                "TensorRT-LLM biases single tokens, not sequences such as {sequence}",
                {"sequence": str(sequence)[:40]},
            )
    return pairs


def _keys_are_ids(bias: dict[str, float]) -> dict[str, float]:
    for key in bias:
        if not (key.isascii() and key.isdigit() and len(key) <= 10 and int(key) <= MAX_TOKEN_ID):
            raise PydanticCustomError("token_id", "'{key}' is no token id", {"key": key[:40]})
    return bias


def _either(kind: str) -> Any:
    one = {"type": kind}
    return WithJsonSchema({"anyOf": [one, {"type": "array", "items": one}]})


Strings = Annotated[
    list[Annotated[str, Field(min_length=1)]], BeforeValidator(_as_list), _either("string")
]
"""One or several."""

TokenIds = Annotated[
    list[Annotated[int, Field(ge=-1, le=MAX_TOKEN_ID)]],
    BeforeValidator(_as_list),
    _either("integer"),
]
"""One or several; -1 is none of the vocabulary's."""

TokenLists = list[Annotated[list[TokenId], Field(min_length=1)]]

TokenRow = Annotated[list[TokenId], Field(min_length=1), BeforeValidator(_one_row)]
"""One sequence, also as the only row of a batch."""

MaskRow = Annotated[
    list[Annotated[int, Field(ge=0, le=1)]], Field(min_length=1), BeforeValidator(_one_row)
]

_Sequence = Annotated[list[TokenId], Field(min_length=1)]
_Weight = Annotated[float, Field(ge=-1e6, le=1e6)]
SequenceBias = Annotated[
    list[Annotated[tuple[_Sequence, _Weight], Field(strict=False)]], AfterValidator(_single_tokens)
]
"""Pairs of a sequence of tokens and what is added to its logit."""

LogitBias = Annotated[
    dict[str, Annotated[float, Field(ge=-100, le=100)]], AfterValidator(_keys_are_ids)
]
"""What is added to the logits of tokens, by their ids as JSON's keys."""
