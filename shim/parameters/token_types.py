"""The JSON forms of tokens in parameters: lists of ids, biases of tokens."""

from typing import Annotated

from pydantic import AfterValidator, BeforeValidator, Field
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
            raise PydanticCustomError("token_id", "'{key}' is not a token id", {"key": key[:40]})
    return bias


_Text = Annotated[str, Field(min_length=1)]
Strings = Annotated[
    list[_Text], BeforeValidator(_as_list, json_schema_input_type=_Text | list[_Text])
]
"""One or several."""

_TokenOrNone = Annotated[int, Field(ge=-1, le=MAX_TOKEN_ID)]
TokenIds = Annotated[
    list[_TokenOrNone],
    BeforeValidator(_as_list, json_schema_input_type=_TokenOrNone | list[_TokenOrNone]),
]
"""One or several; -1 is none of the vocabulary's."""

_Sequence = Annotated[list[TokenId], Field(min_length=1)]
TokenLists = list[_Sequence]

TokenRow = Annotated[
    _Sequence, BeforeValidator(_one_row, json_schema_input_type=_Sequence | list[_Sequence])
]
"""One sequence, also as the only row of a batch."""

_Mask = Annotated[list[Annotated[int, Field(ge=0, le=1)]], Field(min_length=1)]
MaskRow = Annotated[_Mask, BeforeValidator(_one_row, json_schema_input_type=_Mask | list[_Mask])]

_Weight = Annotated[float, Field(ge=-1e6, le=1e6)]
SequenceBias = Annotated[
    list[Annotated[tuple[_Sequence, _Weight], Field(strict=False)]], AfterValidator(_single_tokens)
]
"""Pairs of a sequence of tokens and what is added to its logit."""

LogitBias = Annotated[
    dict[str, Annotated[float, Field(ge=-100, le=100)]], AfterValidator(_keys_are_ids)
]
"""What is added to the logits of tokens, by their ids as JSON's keys."""
