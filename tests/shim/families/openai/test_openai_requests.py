from typing import Any

import pytest

from catalog import load_catalog
from shim.families.openai.bodies import ChatBody, CompletionBody, read_body
from shim.families.openai.plans import Plan, plan_chat, plan_completion
from shim.parameters import problems
from shim.parameters.problems import InvalidParametersError
from shim.parameters.table import openai_map

CATALOG = load_catalog()
MESSAGES = [{"role": "user", "content": "hi"}]


def chat(model: str = "llama-3-8b-instruct", **body: Any) -> Plan:
    return plan_chat(
        *read_body({"model": model, "messages": MESSAGES} | body, ChatBody), CATALOG[model]
    )


def completion(model: str = "mistral-7b", **body: Any) -> Plan:
    return plan_completion(
        *read_body({"model": model, "prompt": "hi"} | body, CompletionBody), CATALOG[model]
    )


def chat_problem(**body: Any) -> tuple[str, str]:
    with pytest.raises(InvalidParametersError) as raised:
        chat(**body)
    return raised.value.problems[0].parameter, str(raised.value.detail)


def test_a_chat_fills_the_context_and_samples_as_the_readme_says() -> None:
    (request,) = chat().requests
    assert request.messages == MESSAGES
    assert (request.max_tokens, request.beam_width, request.stream) == (4096, None, False)
    assert (request.temperature, request.top_k, request.top_p) == (0.1, 40, 0.75)
    assert request.exclude_input_in_output
    assert request.skip_special_tokens


@pytest.mark.parametrize("model", list(CATALOG))
def test_every_model_takes_both_routes(model: str) -> None:
    assert chat(model).requests[0].messages == MESSAGES
    assert completion(model).requests[0].text_input == "hi"


def test_a_completion_has_16_tokens_unless_told_otherwise() -> None:
    assert completion().requests[0].max_tokens == 16
    assert completion(max_tokens=99).requests[0].max_tokens == 99


@pytest.mark.parametrize(
    ("body", "field", "expected"),
    [
        ({"max_tokens": 5}, "max_tokens", 5),
        ({"max_completion_tokens": 5}, "max_tokens", 5),
        ({"temperature": 0}, "top_k", 1),
        ({"temperature": 1.5}, "temperature", 1.5),
        ({"presence_penalty": -2}, "presence_penalty", -2.0),
        ({"frequency_penalty": 0.5}, "frequency_penalty", 0.5),
        ({"seed": 5}, "seed", 5),
        ({"seed": -1}, "seed", 2**64 - 1),
        ({"stream": True}, "stream", True),
        ({"top_k": 3}, "top_k", 3),
        ({"num_beams": 3}, "beam_width", 3),
        ({"stop": "a"}, "stop", ["a"]),
        ({"continue_final_message": True}, "continue_final_message", True),
        ({"add_generation_prompt": False}, "add_generation_prompt", False),
        ({"split_special_tokens": False}, "split_special_tokens", False),
        ({"stop": ["a", "b"]}, "stop", ["a", "b"]),
        ({"logit_bias": {"5": -100, "7": 2.5}}, "embedding_bias", {5: -100.0, 7: 2.5}),
        ({"logprobs": True}, "return_log_probs", True),
        ({"logprobs": True, "top_logprobs": 3}, "top_logprobs", 3),
        ({"logprobs": True, "top_logprobs": 0}, "top_logprobs", None),
        ({"logprobs": True, "top_logprobs": 3}, "prompt_logprobs", None),
    ],
)
def test_parameters_are_translated(body: dict[str, Any], field: str, expected: Any) -> None:
    assert getattr(chat(**body).requests[0], field) == expected


def test_a_message_may_come_as_the_client_library_writes_it() -> None:
    turns = [
        {"role": "developer", "content": "be brief"},
        {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]},
        {"role": "assistant", "content": "c", "refusal": None, "tool_calls": [], "audio": None},
        {"role": "user", "content": "d"},
    ]
    assert chat(messages=turns).requests[0].messages == [
        {"role": "system", "content": "be brief"},
        {"role": "user", "content": "ab"},
        {"role": "assistant", "content": "c"},
        {"role": "user", "content": "d"},
    ]


def test_n_counts_the_seeds_up_for_each_prompt() -> None:
    plan = completion(prompt=["a", "b"], n=2, seed=7, echo=True)
    assert [(each.text_input, each.seed) for each in plan.requests] == [
        ("a", 7),
        ("a", 8),
        ("b", 7),
        ("b", 8),
    ]
    assert [plan.prefix(index) for index in range(4)] == ["a", "a", "b", "b"]
    assert len({each.request_id for each in plan.requests}) == 4


@pytest.mark.parametrize("prompt", ["hi", [5, 6]])
def test_a_prompt_is_scored_where_it_is_repeated_with_log_probabilities(prompt: Any) -> None:
    plan = completion(prompt=prompt, echo=True, logprobs=2, max_tokens=9)
    (request,) = plan.requests
    assert (request.prompt_logprobs, request.top_logprobs) == (2, 2)
    assert (request.return_log_probs, request.stream, request.end_ids) == (True, True, None)
    assert (plan.asks_for_prompts, plan.is_without_reply) == (True, False)


def test_a_prompt_of_token_ids_comes_back_as_text() -> None:
    (request,) = completion(prompt=[5, 6], echo=True).requests
    assert (request.prompt_logprobs, request.return_log_probs) == (0, False)
    assert completion(prompt="hi", echo=True).requests[0].prompt_logprobs is None
    assert completion(prompt=[5, 6], logprobs=0).requests[0].prompt_logprobs is None


def test_exactly_one_token_follows_a_prompt_that_is_scored() -> None:
    for limit in (0, 1):
        plan = completion(echo=True, logprobs=1, max_tokens=limit)
        assert (plan.requests[0].max_tokens, plan.requests[0].end_ids) == (1, [])
        assert plan.requests[0].top_logprobs == (limit or None)  # nothing is shown of no reply
        assert plan.is_without_reply == (limit == 0)


@pytest.mark.parametrize("prompt", [[5, 6], [[5, 6]]])
def test_a_prompt_may_be_token_ids(prompt: Any) -> None:
    (request,) = completion(prompt=prompt).requests
    assert (request.text_input, request.input_ids) == (None, [5, 6])


def test_texts_and_token_ids_may_come_together() -> None:
    requests = completion(prompt=[[5, 6], "a", [7]]).requests
    assert [each.text_input or each.input_ids for each in requests] == [[5, 6], "a", [7]]


@pytest.mark.parametrize(
    ("body", "parameter", "text"),
    [
        ({"logprobs": 6}, "logprobs", "less than or equal to 5"),
        ({"logprobs": 0, "num_beams": 2}, "logprobs", "beam search has no text before its end"),
        ({"max_tokens": 0}, "max_tokens", "greater than or equal to 1"),
        ({"prompt": []}, "prompt", "List should have at least 1 item"),
        ({"prompt": [[]]}, "prompt[0].tokens", "List should have at least 1 item"),
        ({"prompt": [-5]}, "prompt[0].tokens[0]", "greater than or equal to 0"),
        ({"prompt": 5}, "prompt", "Input should be a valid list"),
    ],
)
def test_a_wrong_completion_is_named(body: dict[str, Any], parameter: str, text: str) -> None:
    with pytest.raises(InvalidParametersError) as raised:
        completion(**body)
    assert raised.value.problems[0].parameter == parameter
    assert text in str(raised.value.detail)


@pytest.mark.parametrize(
    ("body", "parameter", "text"),
    [
        ({"n": 0}, "n", "Input should be greater than or equal to 1"),
        ({"n": 33}, "n", "Input should be less than or equal to 32"),
        ({"top_p": 2}, "top_p", "Input should be less than or equal to 1"),
        ({"temperature": "hot"}, "temperature", "Input should be a valid number"),
        ({"max_completion_tokens": 0}, "max_completion_tokens", "Input should be greater"),
        ({"max_completion_tokens": 3, "max_tokens": 4}, "max_completion_tokens", "as max_tokens"),
        ({"max_completion_tokens": 3, "max_new_tokens": 4}, "max_completion_tokens", "the two"),
        (
            {"messages": [{"role": "user", "content": [{"type": "image_url"}]}]},
            "messages[0].content[0].type",
            "Input should be 'text'",
        ),
        ({"messages": []}, "messages", "List should have at least 1 item"),
        ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role", "Input should be"),
        ({"logit_bias": {"five": 1}}, "logit_bias", "'five' is not a token id"),
        ({"logprobs": True, "num_beams": 2}, "logprobs", "beam search has no text"),
        ({"top_logprobs": 3}, "top_logprobs", 'goes with "logprobs": true'),
        ({"logprobs": True, "top_logprobs": 21}, "top_logprobs", "less than or equal to 20"),
        ({"input_ids": [1]}, "input_ids", "unknown parameter"),
        ({"response_format": {"type": "json"}}, "response_format.type", "'text', 'json_object'"),
        (
            {"response_format": {"type": "json_schema"}},
            "response_format",
            "type json_schema needs json_schema",
        ),
        ({"guided_decoding": {"type": "regex"}}, "guided_decoding", "type regex needs a guide"),
        (
            {"guided_decoding": {"type": "json"}, "num_beams": 2},
            "guided_decoding",
            "a guided reply has one beam",
        ),
        ({"num_return_sequences": 2}, "num_return_sequences", "unknown parameter"),
        ({"prompt": "x"}, "prompt", "unknown parameter 'prompt'"),
        ({"user": 5}, "user", "Input should be a valid string"),
        ({"mesages": []}, "mesages", "did you mean 'messages'?"),
        ({"num_beams": 2, "n": 3}, "n", "more than the 2 of num_beams"),
        ({"num_beams": 2, "stream": True}, "num_beams", "cannot be streamed"),
    ],
)
def test_a_wrong_parameter_is_named(body: dict[str, Any], parameter: str, text: str) -> None:
    found, detail = chat_problem(**body)
    assert found == parameter
    assert text in detail


@pytest.mark.parametrize(
    "row", [row for row in openai_map().values() if row.category == "refused"], ids=lambda r: r.name
)
def test_what_openai_has_beyond_us_is_refused_with_the_reason(row: Any) -> None:
    parameter, text = chat_problem(**{row.name: "something"})
    assert parameter == row.name
    assert text.endswith(row.how)
    for value in [None, *row.neutral]:
        chat(**{row.name: value})


@pytest.mark.parametrize(
    "body",
    [
        {"user": "me", "metadata": {"a": "b"}, "service_tier": "auto"},
        {"response_format": {"type": "text"}, "logprobs": False, "top_logprobs": 0},
        {"logit_bias": {}, "n": 1, "stop": None, "parallel_tool_calls": True},
    ],
)
def test_what_changes_nothing_is_accepted(body: dict[str, Any]) -> None:
    (request,) = chat(**body, seed=1).requests
    assert request.messages == MESSAGES


def test_more_sequences_than_are_made_at_once_are_refused() -> None:
    with pytest.raises(InvalidParametersError, match="n: 9 replies to 4 prompts; at most 32"):
        completion(prompt=["a", "b", "c", "d"], n=9)


def test_of_many_unknown_parameters_only_those_reported_are_looked_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    looked_up = []
    monkeypatch.setattr(
        problems, "get_close_matches", lambda name, *_, **__: looked_up.append(name)
    )
    chat_problem(**{f"max_tokens_{number}": 1 for number in range(1000)})
    assert len(looked_up) == problems.MAX_REPORTED
