"""What the text stages read of a request's parameters."""

import json
from typing import Any

import pytest

from aeolus_contract.failures import InvalidRequestError
from aeolus_contract.request_parameters import UnknownParameters, read_request_parameters
from preprocessing.preprocessor import Preprocessor
from support.preparing import prepare


def parse(**values: Any) -> Any:
    return read_request_parameters(json.dumps(values))


def test_none_are_needed() -> None:
    assert read_request_parameters("").stop == ()
    assert read_request_parameters("{}").end_ids is None


def test_stop_is_a_list_of_strings_and_empty_ones_are_dropped() -> None:
    assert parse(stop='["a", "", "\\n\\n"]').stop == ("a", "\n\n")
    assert parse(stop="[]").stop == ()


@pytest.mark.parametrize(
    ("values", "reason"),
    [
        ({"stop": "User:"}, r"stop is 'User:'; as a request parameter it must be a JSON list"),
        ({"stop": 5}, "stop is 5; as a request parameter"),
        ({"stop": '"a"'}, "it must be a JSON list"),
        ({"stop": "[1]"}, "stop must be a JSON list of strings"),
        ({"stop": json.dumps(["a"] * 65)}, "stop has 65 strings; send 64 or fewer"),
        ({"end_ids": "2"}, "end_ids is '2'; as a request parameter it must be a JSON list"),
        ({"end_ids": '["a"]'}, "end_ids must be a JSON list of token ids"),
        ({"end_ids": str([*range(65)])}, "end_ids has 65 token ids; send 64 or fewer"),
        ({"request_priority": 1.5}, "request_priority is 1.5; it must be a number from 0 to 1"),
        ({"request_priority": "high"}, "it must be a number from 0 to 1"),
        ({"request_priority": True}, "it must be a number from 0 to 1"),
        ({"skip_special_tokens": "yes"}, "skip_special_tokens is 'yes'; it must be a boolean"),
        ({"split_special_tokens": 1}, "split_special_tokens is 1; it must be a boolean"),
        (
            {"add_generation_prompt": True, "continue_final_message": True},
            "add_generation_prompt and continue_final_message are both true",
        ),
    ],
)
def test_a_wrong_value_is_refused_by_name(values: dict[str, Any], reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        parse(**values)


def test_end_ids_take_the_place_of_the_checkpoints(chat: Preprocessor) -> None:
    inputs = prepare(chat, input_ids=[5], parameters=parse(end_ids="[9, 8, 9]"))
    assert (inputs.end_id, inputs.stop_words) == (9, [[8]])


def test_no_end_ids_let_the_reply_run_on(chat: Preprocessor) -> None:
    inputs = prepare(chat, input_ids=[5], parameters=parse(end_ids="[]"))
    assert (inputs.end_id, inputs.stop_words) == (-1, [])


@pytest.mark.parametrize(
    ("end_id", "ids", "reason"),
    [(None, "[600]", "end_ids holds 600"), (3, "[3]", "send either end_id or end_ids")],
)
def test_end_ids_are_checked(chat: Preprocessor, end_id: int | None, ids: str, reason: str) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        prepare(chat, input_ids=[5], end_id=end_id, parameters=parse(end_ids=ids))


@pytest.mark.parametrize("text", ["wind", "the wind", "東京", "\n"])
def test_the_engine_is_given_spellings_of_a_stop_string(
    chat: Preprocessor, base: Preprocessor, text: str
) -> None:
    for preprocessor in (chat, base):
        inputs = prepare(preprocessor, input_ids=[5], parameters=parse(stop=json.dumps([text])))
        eos = len(preprocessor.tokenizer.eos_ids) - 1
        hints = inputs.stop_words[eos:]
        assert hints
        assert all(text in preprocessor.tokenizer.decode(hint) for hint in hints)


def test_unknown_names_are_reported_once_each() -> None:
    reported: list[str] = []
    unknown = UnknownParameters(reported.append)
    for _ in range(3):
        unknown.check('{"random_seed": 1, "stop": "[]", "triton_enable": true}')
        unknown.check("")
    unknown.check('{"runtime_top_k": 1}')
    assert [text.split("'")[1] for text in reported] == ["random_seed", "runtime_top_k"]
