from typing import Any

import pytest
from fastapi import HTTPException

from catalog import load_catalog
from shim.parameters.table import generate_map
from shim.parameters.validation import read_parameters

CATALOG = load_catalog()
STABLELM = "stablelm-zephyr-3b"
MISTRAL = "mistral-7b"
LLAMA_3 = "llama-3-8b-instruct"
ZEPHYR = "zephyr-7b-beta"
TURN: dict[str, Any] = {"role": "user", "content": "hi"}
PART = {"type": "text", "text": "h"}


def problems(model: str, **body: Any) -> str:
    with pytest.raises(HTTPException) as raised:
        read_parameters(body, CATALOG[model])
    assert raised.value.status_code == 422
    return str(raised.value.detail)


def test_every_parameter_is_read_under_its_name() -> None:
    body = {
        "prompt": "hi",
        "stream": False,
        "max_new_tokens": 5,
        "max_tokens": 5,
        "max_length": 90,
        "min_new_tokens": 1,
        "do_sample": True,
        "temperature": 1,
        "top_p": 0.5,
        "top_k": 0,
        "seed": 2**64 - 1,
        "num_beams": 1,
        "length_penalty": 0.5,
        "early_stopping": "never",
        "repetition_penalty": 1.1,
        "no_repeat_ngram_size": 3,
        "return_full_text": False,
        "skip_special_tokens": True,
    }
    parameters = read_parameters(body, CATALOG[MISTRAL]).given
    assert parameters.model_dump(exclude_none=True) == body


def test_null_means_not_given() -> None:
    body = dict.fromkeys(generate_map(), None) | {"prompt": "hi"}
    assert read_parameters(body, CATALOG[MISTRAL]).given.model_dump(exclude_none=True) == {
        "prompt": "hi"
    }


@pytest.mark.parametrize(
    ("name", "value", "problem"),
    [
        ("prompt", 5, "prompt: Input should be a valid string"),
        ("prompt", ["a"], "prompt: Input should be a valid string"),
        ("prompt", "", "prompt: String should have at least 1 character"),
        ("stream", "false", "stream: Input should be a valid boolean"),
        ("stream", 1, "stream: Input should be a valid boolean"),
        ("max_new_tokens", 0, "max_new_tokens: Input should be greater than or equal to 1"),
        (
            "max_new_tokens",
            2**31,
            "max_new_tokens: Input should be less than or equal to 214748364",
        ),
        ("max_tokens", 1.5, "max_tokens: Input should be a valid integer"),
        ("max_tokens", True, "max_tokens: Input should be a valid integer"),
        ("max_length", "9", "max_length: Input should be a valid integer"),
        ("min_new_tokens", -1, "min_new_tokens: Input should be greater than or equal to 0"),
        ("do_sample", 0, "do_sample: Input should be a valid boolean"),
        ("temperature", -0.1, "temperature: Input should be greater than or equal to 0"),
        ("temperature", True, "temperature: Input should be a valid number"),
        ("temperature", "0.7", "temperature: Input should be a valid number"),
        ("temperature", 1e39, "temperature: Input should be less than or equal to"),
        ("top_p", 1.1, "top_p: Input should be less than or equal to 1"),
        ("top_k", -1, "top_k: Input should be greater than or equal to 0"),
        ("seed", 2**64, "seed: Input should be less than or equal to 18446744073709551615"),
        ("num_beams", 0, "num_beams: Input should be greater than or equal to 1"),
        ("length_penalty", -1, "length_penalty: Input should be greater than or equal to 0"),
        ("early_stopping", 1, "early_stopping: Input should be true, false or 'never'"),
        ("repetition_penalty", 0, "repetition_penalty: Input should be greater than or equal to"),
        ("no_repeat_ngram_size", -1, "no_repeat_ngram_size: Input should be greater than or equal"),
        ("return_full_text", "yes", "return_full_text: Input should be a valid boolean"),
        ("skip_special_tokens", {}, "skip_special_tokens: Input should be a valid boolean"),
    ],
)
def test_a_wrong_value_is_named_with_the_rule(name: str, value: object, problem: str) -> None:
    found = problems(MISTRAL, **({"prompt": "hi"} | {name: value}))
    assert found.startswith(problem)
    assert ";" not in found


@pytest.mark.parametrize(
    ("messages", "problem"),
    [
        ("hi", "messages: Input should be a valid list"),
        ([], "messages: List should have at least 1 item after validation, not 0"),
        (["hi"], "messages[0]: a message is an object of role and content, nothing else"),
        ([TURN, {"role": "user"}], "messages[1].content: Field required"),
        ([{"content": "hi"}], "messages[0].role: Field required"),
        ([{"role": "", "content": "hi"}], "messages[0].role: String should have at least 1"),
        (
            [{**TURN, "content": 5}],
            "messages[0].content: Input should be a string or a list of text",
        ),
        ([{**TURN, "content": None}], "messages[0].content: Input should be a string or a list"),
        ([{**TURN, "content": ["a"]}], "messages[0].content[0]: a text part is an object of type"),
        ([{**TURN, "content": [PART | {"b": 1}]}], "messages[0].content[0].b: a text part is an"),
        ([{**TURN, "content": [{"type": "text"}]}], "messages[0].content[0].text: Field required"),
        (
            [{**TURN, "content": [PART, {"type": "image_url", "image_url": {}}]}],
            "messages[0].content[1].type: Input should be 'text'",
        ),
        ([{**TURN, "name": "x"}], "messages[0].name: a message is an object of role and content"),
    ],
)
def test_wrong_messages_are_named_by_their_place(messages: object, problem: str) -> None:
    assert problems(LLAMA_3, messages=messages).startswith(problem)


def test_an_unknown_parameter_is_named_with_the_nearest_known_one() -> None:
    assert (
        problems(MISTRAL, prompt="hi", temprature=1)
        == "unknown parameter 'temprature'; did you mean 'temperature'?"
    )
    assert problems(MISTRAL, prompt="hi", xyzzy=None) == "unknown parameter 'xyzzy'"


def test_a_field_that_another_model_takes_is_no_suggestion() -> None:
    assert problems(MISTRAL, prompt="hi", mesages=[]) == "unknown parameter 'mesages'"
    assert problems(LLAMA_3, messages=[TURN], mesages=[]).endswith("did you mean 'messages'?")


@pytest.mark.parametrize(
    ("model", "body", "problem"),
    [
        (MISTRAL, {}, "prompt: required by mistral-7b"),
        (LLAMA_3, {}, "messages: required by llama-3-8b-instruct"),
        (LLAMA_3, {"messages": None}, "messages: required by llama-3-8b-instruct"),
        (
            MISTRAL,
            {"messages": [TURN]},
            "messages: mistral-7b takes 'prompt', not 'messages'",
        ),
        (
            LLAMA_3,
            {"prompt": "hi"},
            "prompt: llama-3-8b-instruct takes 'messages', not 'prompt'",
        ),
        (
            MISTRAL,
            {"prompt": "hi", "messages": [TURN]},
            "messages: mistral-7b takes 'prompt', not 'messages'",
        ),
        (
            LLAMA_3,
            {"user_message": "hi"},
            "user_message: llama-3-8b-instruct takes 'messages', not 'user_message'",
        ),
        (
            ZEPHYR,
            {"messages": [TURN], "user_message": "hi"},
            "user_message: give it or 'messages', not both",
        ),
        (
            ZEPHYR,
            {"messages": [TURN], "system_message": "be brief"},
            "system_message: goes with 'user_message'; in 'messages' it is a turn of role system",
        ),
    ],
)
def test_the_input_must_be_the_one_that_the_model_takes(
    model: str, body: dict[str, Any], problem: str
) -> None:
    assert problems(model, **body) == problem


def test_two_different_limits_of_new_tokens_are_refused() -> None:
    assert (
        problems(MISTRAL, prompt="hi", max_tokens=5, max_new_tokens=6)
        == "max_tokens: means the same as max_new_tokens, but the two differ"
    )


def test_a_minimum_above_the_limit_is_refused() -> None:
    assert (
        problems(MISTRAL, prompt="hi", min_new_tokens=513)
        == "min_new_tokens: more than the limit of 512 new tokens"
    )


def test_beams_are_neither_streamed_nor_sampled() -> None:
    found = problems(LLAMA_3, messages=[TURN], num_beams=2, stream=True, do_sample=True)
    assert found == (
        "num_beams: beam search chooses its text at the end, so it cannot be streamed; "
        "do_sample: beam search does not sample; leave out do_sample or num_beams"
    )


@pytest.mark.parametrize("parameter", [{"num_beams": 2}, {"return_full_text": True}])
def test_what_the_default_stream_cannot_do_is_refused_with_the_way_out(
    parameter: dict[str, Any],
) -> None:
    found = problems(STABLELM, messages=[TURN], **parameter)
    assert found.endswith('this model streams unless "stream" is false')
    read_parameters({"messages": [TURN], "stream": False, **parameter}, CATALOG[STABLELM])


def test_all_problems_are_reported_at_once() -> None:
    found = problems(
        MISTRAL, messages=[TURN], top_p=2, temprature=1, max_tokens=1, max_new_tokens=2
    )
    assert [each.split(":")[0] for each in found.split("; ")] == [
        "top_p",
        "unknown parameter 'temprature'",
        "did you mean 'temperature'?",
        "messages",
        "max_tokens",
    ]


def test_a_flood_of_problems_gets_a_short_answer() -> None:
    found = problems(MISTRAL, **{f"{'x' * 5000}{number}": 1 for number in range(10_000)})
    assert len(found) < 1000
