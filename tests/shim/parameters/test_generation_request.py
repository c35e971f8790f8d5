from typing import Any

import pytest

from aeolus_client import GenerationRequest
from catalog import load_catalog
from shim.parameters.translation import generation_request
from shim.parameters.validation import read_parameters

CATALOG = load_catalog()
PROMPT_MODELS = ["llama-2-70b", "mistral-7b"]
SAMPLING_FIELDS = ("temperature", "top_k", "top_p", "seed")
BEAM_FIELDS = ("beam_width", "length_penalty", "early_stopping")


def translate(model: str, **body: Any) -> GenerationRequest:
    entry = CATALOG[model]
    question: Any = "hi" if model in PROMPT_MODELS else [{"role": "user", "content": "hi"}]
    if "user_message" not in body:
        body = {entry.predict.input: question} | body
    return generation_request(read_parameters(body, entry), entry)


def sampling(request: GenerationRequest) -> tuple[float | None, int | None, float | None]:
    return request.temperature, request.top_k, request.top_p


def beams(request: GenerationRequest) -> tuple[int | None, float | None, int | None]:
    return request.beam_width, request.length_penalty, request.early_stopping


GREEDY = (None, 1, None)
ONE_BEAM = (None, None, None)


@pytest.mark.parametrize(
    ("model", "max_tokens", "stream", "expected_sampling", "expected_beams"),
    [
        ("stablelm-zephyr-3b", 4096, True, (1.0, 40, 0.95), ONE_BEAM),
        ("zephyr-7b-beta", 256, False, (0.7, 50, 0.95), ONE_BEAM),
        ("mistral-7b", 512, False, (0.1, 40, 0.75), ONE_BEAM),
        ("llama-3-8b-instruct", 512, False, (None, None, None), (4, None, None)),
        ("llama-2-70b", 512, False, (None, None, None), (4, None, None)),
    ],
)
def test_the_readme_decides_what_a_request_leaves_open(
    model: str,
    max_tokens: int,
    stream: bool,
    expected_sampling: tuple[float, int, float],
    expected_beams: tuple[int | None, float | None, int | None],
) -> None:
    request = translate(model)
    assert (request.max_tokens, request.max_length, request.stream) == (max_tokens, 4096, stream)
    assert sampling(request) == expected_sampling
    assert beams(request) == expected_beams
    assert request.min_tokens is None
    assert request.repetition_penalty is None
    assert request.no_repeat_ngram_size is None


def test_a_sampled_request_has_a_seed_of_its_own() -> None:
    seeds = {translate("mistral-7b").seed for _ in range(20)}
    assert len(seeds) == 20
    assert all(seed is not None and 0 <= seed < 2**63 for seed in seeds)


def test_given_sampling_values_are_sent_as_they_are() -> None:
    request = translate("mistral-7b", temperature=2, top_k=0, top_p=1, seed=0)
    assert sampling(request) == (2.0, 0, 1.0)
    assert request.seed == 0


@pytest.mark.parametrize("body", [{"do_sample": False}, {"temperature": 0}, {"top_p": 0}])
def test_greedy_is_top_k_1_and_no_other_sampling_value(body: dict[str, Any]) -> None:
    request = translate("mistral-7b", seed=5, **body)
    assert sampling(request) == GREEDY
    assert request.seed is None


def test_num_beams_1_samples_where_the_default_is_beams() -> None:
    request = translate("llama-2-70b", num_beams=1)
    assert sampling(request) == (0.1, 40, 0.75)
    assert beams(request) == ONE_BEAM


def test_num_beams_searches_where_the_default_samples() -> None:
    request = translate("mistral-7b", num_beams=3, length_penalty=0, early_stopping="never")
    assert beams(request) == (3, 0.0, 2)
    assert sampling(request) == (None, None, None)


@pytest.mark.parametrize(("early_stopping", "expected"), [(False, 0), (True, 1), ("never", 2)])
def test_early_stopping_becomes_the_engines_number(early_stopping: object, expected: int) -> None:
    assert translate("llama-2-70b", early_stopping=early_stopping).early_stopping == expected


@pytest.mark.parametrize("body", [{"do_sample": False}, {"temperature": 0}, {"temperature": 0.9}])
def test_default_beams_stay_where_nothing_contradicts_them(body: dict[str, Any]) -> None:
    assert beams(translate("llama-3-8b-instruct", **body)) == (4, None, None)


def test_do_sample_outweighs_default_beams() -> None:
    request = translate("llama-3-8b-instruct", do_sample=True)
    assert sampling(request) == (0.1, 40, 0.75)
    assert beams(request) == ONE_BEAM


def test_a_stream_outweighs_default_beams() -> None:
    sampled = translate("llama-3-8b-instruct", stream=True)
    greedy = translate("llama-3-8b-instruct", stream=True, do_sample=False)
    assert (sampling(sampled), beams(sampled)) == ((0.1, 40, 0.75), ONE_BEAM)
    assert (sampling(greedy), beams(greedy)) == (GREEDY, ONE_BEAM)


def test_beam_values_are_not_sent_with_one_beam() -> None:
    request = translate("mistral-7b", length_penalty=2, early_stopping=True)
    assert beams(request) == ONE_BEAM


@pytest.mark.parametrize(
    ("body", "max_tokens", "max_length"),
    [
        ({"max_new_tokens": 7}, 7, 4096),
        ({"max_tokens": 7}, 7, 4096),
        ({"max_tokens": 7, "max_new_tokens": 7}, 7, 4096),
        ({"max_length": 7}, 7, 7),
        ({"max_length": 7, "max_new_tokens": 9}, 9, 7),
        ({"max_length": 9000}, 9000, 4096),
        ({"max_new_tokens": 9000}, 9000, 4096),
    ],
)
@pytest.mark.parametrize("model", ["mistral-7b", "llama-3-8b-instruct"])
def test_every_spelling_of_the_limit_is_understood(
    model: str, body: dict[str, Any], max_tokens: int, max_length: int
) -> None:
    request = translate(model, **body)
    assert (request.max_tokens, request.max_length) == (max_tokens, max_length)


def test_penalties_are_sent_unless_they_are_neutral() -> None:
    request = translate(
        "stablelm-zephyr-3b", repetition_penalty=1.3, no_repeat_ngram_size=2, min_new_tokens=4
    )
    assert request.repetition_penalty == 1.3
    assert request.no_repeat_ngram_size == 2
    assert request.min_tokens == 4
    neutral = translate("stablelm-zephyr-3b", repetition_penalty=1, no_repeat_ngram_size=0)
    assert neutral.repetition_penalty is None
    assert neutral.no_repeat_ngram_size is None


@pytest.mark.parametrize(
    ("model", "excludes_prompt", "skips_special_tokens"),
    [
        ("stablelm-zephyr-3b", False, True),
        ("llama-3-8b-instruct", False, True),
        ("mistral-7b", False, False),
        ("llama-2-70b", False, False),
        ("zephyr-7b-beta", True, True),
    ],
)
def test_a_plain_reply_holds_what_the_original_returns(
    model: str, excludes_prompt: bool, skips_special_tokens: bool
) -> None:
    request = translate(model, stream=False)
    assert request.exclude_input_in_output == excludes_prompt
    assert request.skip_special_tokens == skips_special_tokens


@pytest.mark.parametrize("model", list(CATALOG))
def test_a_stream_holds_the_generated_text_alone(model: str) -> None:
    request = translate(model, stream=True)
    assert request.exclude_input_in_output
    assert request.skip_special_tokens


def test_a_request_chooses_what_its_reply_holds() -> None:
    request = translate("mistral-7b", return_full_text=False, skip_special_tokens=True)
    assert request.exclude_input_in_output
    assert request.skip_special_tokens
    assert not translate("mistral-7b", stream=True, skip_special_tokens=False).skip_special_tokens


def test_a_prompt_is_continued_and_messages_are_passed_on() -> None:
    prompt = translate("mistral-7b")
    assert (prompt.text_input, prompt.messages) == ("hi", None)
    messages = translate("llama-3-8b-instruct")
    assert (messages.text_input, messages.messages) == (None, [{"role": "user", "content": "hi"}])


def test_the_parts_of_a_message_are_one_text() -> None:
    parts = [{"type": "text", "text": text} for text in ("h", "", "i")]
    for model in ("llama-3-8b-instruct", "stablelm-zephyr-3b", "zephyr-7b-beta"):
        turns = [{"role": "user", "content": parts}, {"role": "assistant", "content": []}]
        assert translate(model, messages=turns).messages == [
            {"role": "user", "content": "hi"},
            {"role": "assistant", "content": ""},
        ]


def test_zephyrs_messages_may_come_as_user_and_system_message() -> None:
    zephyr = CATALOG["zephyr-7b-beta"].zephyr
    assert zephyr is not None
    assert translate("zephyr-7b-beta", user_message="hi").messages == [
        {"role": "system", "content": zephyr.system_message},
        {"role": "user", "content": "hi"},
    ]
    assert translate("zephyr-7b-beta", user_message="hi", system_message="Hm").messages == [
        {"role": "system", "content": "Hm"},
        {"role": "user", "content": "hi"},
    ]


def test_each_request_has_an_id_of_its_own() -> None:
    assert translate("mistral-7b").request_id != translate("mistral-7b").request_id
