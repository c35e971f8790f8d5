"""What a body of OpenAI's responses asks for, or why it is refused."""

from typing import Any

import pytest

from catalog import load_catalog
from shim.families.openai.bodies import read_body
from shim.families.openai.plans import Plan
from shim.families.openai.response_bodies import ResponseBody, plan_response
from shim.parameters.problems import InvalidParametersError
from shim.parameters.table import responses_map

MODEL = "llama-3-8b-instruct"
CATALOG = load_catalog()


def plan(**body: Any) -> Plan:
    return plan_response(
        *read_body({"model": MODEL, "input": "hi"} | body, ResponseBody), CATALOG[MODEL]
    )


def problem(**body: Any) -> tuple[str, str]:
    with pytest.raises(InvalidParametersError) as raised:
        plan(**body)
    return raised.value.problems[0].parameter, str(raised.value.detail)


def test_a_text_is_a_users_turn() -> None:
    (request,) = plan().requests
    assert request.messages == [{"role": "user", "content": "hi"}]
    assert (request.max_tokens, request.beam_width, request.stream) == (4096, None, False)


def test_a_conversation_is_sent_whole_with_replies_as_they_came() -> None:
    reply = {
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "status": "completed",
        "content": [
            {"type": "output_text", "text": "A gentle ", "annotations": [], "logprobs": []},
            {"type": "output_text", "text": "wind.", "annotations": []},
        ],
    }
    turns = [
        {"role": "developer", "content": "Be brief."},
        {"role": "user", "content": [{"type": "input_text", "text": "What is a zephyr?"}]},
        reply,
        {"type": "message", "role": "user", "content": "Where?"},
    ]
    assert plan(input=turns, instructions="You are a poet.").requests[0].messages == [
        {"role": "system", "content": "You are a poet."},
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "What is a zephyr?"},
        {"role": "assistant", "content": "A gentle wind."},
        {"role": "user", "content": "Where?"},
    ]


@pytest.mark.parametrize(
    ("body", "field", "expected"),
    [
        ({"max_output_tokens": 5}, "max_tokens", 5),
        ({"temperature": 0}, "top_k", 1),
        ({"top_p": 0.5}, "top_p", 0.5),
        ({"seed": 5}, "seed", 5),
        ({"stream": True}, "stream", True),
        ({"repetition_penalty": 1.5}, "repetition_penalty", 1.5),
        ({"include": ["message.output_text.logprobs"]}, "return_log_probs", True),
        ({"include": []}, "return_log_probs", False),
        ({"top_logprobs": 2}, "top_logprobs", 2),
        ({"top_logprobs": 2}, "return_log_probs", True),
    ],
)
def test_parameters_are_translated(body: dict[str, Any], field: str, expected: Any) -> None:
    assert getattr(plan(**body).requests[0], field) == expected


@pytest.mark.parametrize(
    "row",
    [row for row in responses_map().values() if row.category == "refused"],
    ids=lambda row: row.name,
)
def test_what_is_not_here_is_refused_with_the_reason(row: Any) -> None:
    parameter, text = problem(**{row.name: "something"})
    assert parameter == row.name
    assert text.endswith(row.how)
    for value in [None, *row.neutral]:
        plan(**{row.name: value})


@pytest.mark.parametrize(
    ("body", "parameter", "text"),
    [
        ({"store": True}, "store", "nothing is stored here"),
        ({"previous_response_id": "resp_1"}, "previous_response_id", "send the previous turns in"),
        (
            {"input": [{"type": "item_reference", "id": "msg_1"}]},
            "input[0]",
            "nothing is stored here; send the item itself",
        ),
        ({"input": []}, "input", "List should have at least 1 item"),
        ({"input": 5}, "input", "Input should be a valid list"),
        ({"input": [{"role": "tool", "content": "x"}]}, "input[0].role", "Input should be"),
        (
            {"input": [{"type": "function_call_output", "call_id": "c", "output": "o"}]},
            "input[0].type",
            "Input should be 'message'",
        ),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "x"}]}]},
            "input[0].content[0].type",
            "Input should be 'input_text' or 'output_text'",
        ),
        ({"max_output_tokens": 3, "max_tokens": 4}, "max_output_tokens", "means the same as max_t"),
        ({"max_output_tokens": 0}, "max_output_tokens", "greater than or equal to 1"),
        ({"include": ["file_search_call.results"]}, "include[0]", "message.output_text.logprobs"),
        (
            {"include": ["message.output_text.logprobs"], "num_beams": 2},
            "include",
            "beam search has no text",
        ),
        ({"messages": []}, "messages", "unknown parameter 'messages'"),
        ({"n": 2}, "n", "unknown parameter 'n'"),
        ({"text": {"verbosity": "low"}}, "text.verbosity", "Input should be 'medium'"),
        ({"inputs": "x"}, "inputs", "did you mean 'input'?"),
    ],
)
def test_a_wrong_parameter_is_named(body: dict[str, Any], parameter: str, text: str) -> None:
    found, detail = problem(**body)
    assert found == parameter
    assert text in detail


def test_what_changes_nothing_is_accepted() -> None:
    plan(
        store=False,
        metadata={"a": "b"},
        user="me",
        tools=[],
        tool_choice="auto",
        truncation="disabled",
        reasoning={"effort": "none"},
        text={"format": {"type": "text"}, "verbosity": "medium"},
        max_tool_calls=3,
    )
