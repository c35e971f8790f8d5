import inspect
import math
from typing import Any

import pytest
from transformers import GenerationConfig, GenerationMixin

from aeolus_contract.parameters import EngineName
from catalog import ModelEntry, load_catalog
from shim.parameters.problems import InvalidParametersError
from shim.parameters.table import Row
from shim.parameters.translation import check_engine, generation_request, is_limited_by_engine
from shim.parameters.validation import read_parameters
from support.generate_examples import TABLE, example, rows

MISTRAL = load_catalog()["mistral-7b"]
ZEPHYR = load_catalog()["zephyr-7b-beta"]
MESSAGES = [{"role": "user", "content": "hi"}]
CPP: EngineName = "tensorrtllm-1.2.1"

# generate()'s own arguments that are no parameters of a request.
NO_PARAMETERS = {"self", "kwargs"}


def problem(model: ModelEntry = MISTRAL, **body: Any) -> str:
    with pytest.raises(InvalidParametersError) as raised:
        read_parameters({"prompt": "hi"} | body, model)
    assert raised.value.status_code == 422
    return str(raised.value.detail)


def test_the_table_has_every_field_of_generation_config() -> None:
    assert GenerationConfig().to_dict().keys() <= TABLE.keys()


def test_the_table_has_every_argument_of_generate() -> None:
    arguments = inspect.signature(GenerationMixin.generate).parameters.keys() - NO_PARAMETERS
    assert arguments <= TABLE.keys()


@pytest.mark.parametrize("row", rows("refused"), ids=lambda row: row.name)
def test_what_cannot_be_served_is_refused_with_the_reason(row: Row) -> None:
    found = problem(**{row.name: example(row)})
    assert found.startswith(f"{row.name}: ")
    assert found.endswith(f" is refused: {row.how}")


@pytest.mark.parametrize("row", rows("refused"), ids=lambda row: row.name)
def test_a_refused_parameter_may_say_what_holds_anyway(row: Row) -> None:
    for value in [None, *row.neutral]:
        read_parameters({"prompt": "hi", row.name: value}, MISTRAL)


@pytest.mark.parametrize("row", rows("accepted"), ids=lambda row: row.name)
def test_what_cannot_change_the_result_is_accepted(row: Row) -> None:
    with_it = read_parameters({"messages": MESSAGES, "seed": 1, row.name: example(row)}, ZEPHYR)
    without = read_parameters({"messages": MESSAGES, "seed": 1}, ZEPHYR)
    sent, expected = (generation_request(each, ZEPHYR) for each in (with_it, without))
    for field in type(sent).__slots__:
        assert field == "request_id" or getattr(sent, field) == getattr(expected, field)


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("use_cache", "yes", "use_cache: Input should be a valid boolean"),
        ("cache_implementation", "quantized", "cache_implementation: Input should be one of dyn"),
        ("pad_token_id", 1.5, "pad_token_id: Input should be a valid integer"),
        ("generation_config", [], "generation_config: Input should be a valid dictionary"),
        ("max_time", 0, "max_time: Input should be greater than 0"),
        ("num_return_sequences", 33, "num_return_sequences: Input should be less than or equal"),
        ("presence_penalty", "1", "presence_penalty: Input should be a valid number"),
    ],
)
def test_types_and_ranges_of_the_table_are_checked(name: str, value: Any, text: str) -> None:
    assert problem(**{name: value}).startswith(text)


def test_false_and_0_are_not_the_same() -> None:
    assert problem(top_h=False).startswith("top_h: false is refused")
    assert problem(token_healing=0).startswith("token_healing: 0 is refused")


def test_a_long_value_is_cut_in_the_refusal() -> None:
    assert problem(constraints=[1] * 10_000).startswith("constraints: [1, 1, ")
    assert len(problem(constraints=[1] * 10_000)) < 200


def test_no_refused_parameter_is_suggested() -> None:
    assert problem(guidance_scal=2) == "unknown parameter 'guidance_scal'"
    assert problem(max_tim=2) == "unknown parameter 'max_tim'; did you mean 'max_time'?"


def test_forced_bos_is_refused_where_it_could_act() -> None:
    assert problem(forced_bos_token_id=1).startswith("forced_bos_token_id: would act after")


@pytest.mark.parametrize(
    ("config", "body", "expected"),
    [
        ({"max_new_tokens": 4, "top_k": 5}, {}, {"max_tokens": 4, "top_k": 5}),
        ({"max_new_tokens": 4, "top_k": 5}, {"top_k": 6}, {"max_tokens": 4, "top_k": 6}),
        ({"max_new_tokens": 4}, {"max_tokens": 9}, {"max_tokens": 9}),
        ({"max_new_tokens": 4}, {"max_new_tokens": None}, {"max_tokens": 4}),
        ({"presence_penalty": 1}, {"frequency_penalty": 0}, {"presence_penalty": 1.0}),
    ],
)
def test_a_generation_config_is_merged(
    config: dict[str, Any], body: dict[str, Any], expected: dict[str, Any]
) -> None:
    parameters = read_parameters({"prompt": "hi", "generation_config": config} | body, MISTRAL)
    request = generation_request(parameters, MISTRAL)
    assert {name: getattr(request, name) for name in expected} == expected


def test_a_generation_config_is_checked_like_a_request() -> None:
    assert problem(generation_config={"top_p": 2}).startswith("top_p: Input should be less")
    assert problem(generation_config={"top_h": 0.1}).startswith("top_h: 0.1 is refused")
    assert problem(generation_config={"prompt": "x"}).startswith("generation_config: 'prompt' is")


def test_the_checkpoints_own_generation_config_is_accepted() -> None:
    ours = GenerationConfig(bos_token_id=1, do_sample=True, temperature=0.6, top_p=0.9).to_dict()
    parameters = read_parameters({"prompt": "hi", "generation_config": ours}, MISTRAL).given
    assert (parameters.temperature, parameters.top_p) == (0.6, 0.9)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"max_time": 1}, "max_time: a reply cut by time does not repeat the prompt"),
        ({"max_time": 1, "return_full_text": False, "num_beams": 2}, "max_time: beam search has"),
        ({"num_return_sequences": 3, "num_beams": 2}, "num_return_sequences: more than the 2"),
        ({"stop": "a", "stop_strings": ["b"]}, "stop: give it or 'stop_strings'"),
        ({"stop": "a", "num_beams": 2}, "stop: means something else in a beam search"),
        ({"stop_strings": "a", "num_beams": 2}, "stop_strings: means something else"),
        ({"logit_bias": {"5": 1}, "num_beams": 2}, "logit_bias: means something else"),
        ({"sequence_bias": [[[5], 1.0]], "num_beams": 2}, "sequence_bias: means something else"),
        ({"input_ids": [5]}, "input_ids: give it or 'prompt', not both"),
        ({"attention_mask": [1]}, "attention_mask: goes with 'input_ids'"),
        ({"add_generation_prompt": True}, "add_generation_prompt: goes with 'messages'"),
        (
            {"add_generation_prompt": True, "continue_final_message": True},
            "add_generation_prompt: no heading follows a message that is continued",
        ),
    ],
)
def test_conflicts_are_named(body: dict[str, Any], text: str) -> None:
    assert problem(**body).startswith(text)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"input_ids": [5], "inputs": [5]}, "inputs: give it or 'input_ids', not both"),
        ({"input_ids": [[5], [6]]}, "input_ids: A request holds one prompt; send the 2 rows"),
        ({"input_ids": []}, "input_ids: List should have at least 1 item"),
        ({"input_ids": [2**31]}, "input_ids[0]: Input should be less than or equal to"),
        ({"input_ids": [5, 6], "attention_mask": [1]}, "attention_mask: has 1 values for 2"),
        ({"input_ids": [5, 6], "attention_mask": [1, 0]}, "attention_mask: may mask only padding"),
        ({"input_ids": [5, 6], "attention_mask": [0, 0]}, "attention_mask: may mask only padding"),
        ({"input_ids": [5], "forced_bos_token_id": 1}, "forced_bos_token_id: would act after"),
    ],
)
def test_wrong_prompts_of_token_ids_are_named(body: dict[str, Any], text: str) -> None:
    assert problem(prompt=None, **body).startswith(text)


@pytest.mark.parametrize(
    ("body", "text"),
    [
        ({"sequence_bias": [[[5, 6], 1.0]]}, "sequence_bias: TensorRT-LLM biases single tokens"),
        ({"sequence_bias": [[[5], 1e39]]}, "sequence_bias[0][1]: Input should be less"),
        ({"sequence_bias": {"5": 1.0}}, "sequence_bias: Input should be a valid list"),
        ({"logit_bias": {"the": 1}}, "logit_bias: 'the' is not a token id"),
        ({"logit_bias": {"99999999999": 1}}, "logit_bias: '99999999999' is not a token id"),
        ({"logit_bias": {"5": 101}}, "logit_bias.5: Input should be less than or equal to 100"),
        ({"bad_words_ids": [[]]}, "bad_words_ids[0]: List should have at least 1 item"),
        ({"eos_token_id": [-2]}, "eos_token_id[0]: Input should be greater than or equal to -1"),
        ({"stop": [""]}, "stop[0]: String should have at least 1 character"),
    ],
)
def test_wrong_tokens_and_texts_are_named(body: dict[str, Any], text: str) -> None:
    assert problem(**body).startswith(text)


@pytest.mark.parametrize(
    ("body", "field", "expected"),
    [
        ({"stop": "a"}, "stop", ["a"]),
        ({"stop_strings": ["a", "b"]}, "stop", ["a", "b"]),
        ({"stop_strings": "a"}, "include_stop_str_in_output", True),
        ({"eos_token_id": 5}, "end_ids", [5]),
        ({"eos_token_id": [5, 6]}, "end_ids", [5, 6]),
        ({"eos_token_id": -1}, "end_ids", []),
        ({"min_length": 9}, "min_total_length", 9),
        ({"bad_words_ids": [[5], [6, 7]]}, "bad_words_ids", [[5], [6, 7]]),
        ({"suppress_tokens": [5, -1]}, "embedding_bias", {5: -math.inf}),
        ({"sequence_bias": [[[5], 1], [[5], 2.5]]}, "embedding_bias", {5: 2.5}),
        (
            {"sequence_bias": [[[5], 1.0]], "logit_bias": {"5": 1, "6": -2}},
            "embedding_bias",
            {5: 2.0, 6: -2.0},
        ),
        ({"prompt": None, "input_ids": [[5, 6]]}, "input_ids", [5, 6]),
        ({"prompt": None, "inputs": [0, 6], "attention_mask": [[0, 1]]}, "input_ids", [6]),
    ],
)
def test_tokens_and_texts_become_the_engines(
    body: dict[str, Any], field: str, expected: Any
) -> None:
    request = generation_request(read_parameters({"prompt": "hi"} | body, MISTRAL), MISTRAL)
    assert getattr(request, field) == expected


@pytest.mark.parametrize("name", ["stop", "stop_strings"])
def test_a_stop_string_takes_the_place_of_a_readmes_beams(name: str) -> None:
    llama = load_catalog()["llama-2-70b"]
    requests = [
        generation_request(read_parameters({"prompt": "hi"} | body, llama), llama)
        for body in ({}, {name: "a"})
    ]
    assert [request.beam_width for request in requests] == [4, None]


@pytest.mark.parametrize(
    ("name", "wrong", "taken"),
    [
        ("length_penalty", 2.0, 0),
        ("early_stopping", "never", True),
        ("no_repeat_ngram_size", 2, 0),
    ],
)
def test_what_an_engine_misreads_is_refused_on_it_alone(name: str, wrong: Any, taken: Any) -> None:
    def request(value: Any) -> Any:
        body = {"prompt": "hi", "num_beams": 2, name: value}
        return generation_request(read_parameters(body, MISTRAL), MISTRAL)

    assert is_limited_by_engine(request(wrong))
    check_engine(request(wrong), "reference")
    check_engine(request(taken), CPP)
    with pytest.raises(InvalidParametersError, match=f"{name}: .* is refused: TensorRT-LLM 1.2.1"):
        check_engine(request(wrong), CPP)
