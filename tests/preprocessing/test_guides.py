"""What a guided request may say, and what of it the engine is given."""

from typing import Any

import numpy as np
import pytest

from aeolus_contract.failures import InvalidRequestError
from guided_decoding.guide import Guide
from preprocessing.guides import MAX_GUIDE_BYTES
from preprocessing.preprocessor import Preprocessor
from preprocessing.tensors import Tensor, request_from_tensors, tensors_of
from support.preparing import prepare

MAX_TOKENS: dict[str, Tensor] = {"REQUEST_OUTPUT_LEN": np.array([[4]], np.int32)}


def guide_tensors(**texts: str) -> dict[str, Tensor]:
    prefix = "GUIDED_DECODING_"
    return MAX_TOKENS | {
        prefix + name.upper(): np.array([[text.encode()]], np.object_)
        for name, text in texts.items()
    }


def test_a_guide_comes_out_of_its_tensors_and_goes_into_the_engines(chat: Preprocessor) -> None:
    request = request_from_tensors(guide_tensors(guide_type="regex", guide="é+"))
    assert request.guide == Guide("regex", "é+")
    tensors = tensors_of(prepare(chat, text_input="a", guide=request.guide), stream=False)
    assert tensors["OUT_GUIDED_DECODING_GUIDE_TYPE"].tolist() == [[b"regex"]]
    assert tensors["OUT_GUIDED_DECODING_GUIDE"].tolist() == [["é+".encode()]]
    tensors = tensors_of(prepare(chat, text_input="a", guide=Guide("json")), stream=False)
    assert "OUT_GUIDED_DECODING_GUIDE" not in tensors


@pytest.mark.parametrize(
    ("texts", "reason"),
    [
        ({"guide": "a"}, "guided_decoding_guide goes with guided_decoding_guide_type"),
        ({"guide_type": "xml", "guide": "a"}, "guided_decoding_guide_type is 'xml'; use json"),
        ({"guide_type": "regex"}, "guided_decoding_guide is missing"),
        ({"guide_type": "json", "guide": "{}"}, "type json has none"),
    ],
)
def test_half_a_guide_is_refused(texts: dict[str, str], reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        request_from_tensors(guide_tensors(**texts))


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"sampling": {"beam_width": 2}}, "beam_width is 2, but a guided reply has one beam"),
        ({"sampling": {"min_tokens": 1}}, "min_tokens is 1, but a guided reply ends where"),
        ({"end_id": 3}, r"end_ids are \[3, 7\], but a guided reply ends by .* checkpoint: 0, 7"),
        ({"end_id": -1}, r"end_ids are \[-1\]"),
        ({"guide": Guide("regex", "a" * (MAX_GUIDE_BYTES + 1))}, "has 65537 bytes; send 65536"),
        ({"guide": Guide("regex", "a[b\\]é]")}, "has one beyond ASCII at character 5"),
        ({"guide": Guide("ebnf_grammar", r'root ::= "[é\"" [\u00e9]')}, "at character 17"),
        (
            {"guide": Guide("json_schema", '{"items": {"type": "int"}}')},
            r'guided_decoding_guide: items\.type is "int"; use one of',
        ),
    ],
)
def test_what_contradicts_a_guide_is_refused(
    chat: Preprocessor, values: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        prepare(chat, **{"text_input": "a", "guide": Guide("regex", "a"), **values})


def test_a_schema_is_given_to_the_engine_as_it_keeps_to_it(chat: Preprocessor) -> None:
    guide = Guide("json_schema", '{"type": "integer", "minimum": 2, "maximum": 3}')
    assert prepare(chat, text_input="a", guide=guide).guide == Guide(
        "json_schema", '{"anyOf": [{"enum": [2, 3]}]}'
    )
