"""Conversations of the five models become the prompts that Hugging Face makes of them."""

import json
from typing import Any

import pytest

from aeolus_contract.failures import InvalidRequestError
from aeolus_contract.request_parameters import RequestParameters
from catalog import load_catalog
from preprocessing.preprocessor import Preprocessor
from support.chat_templates import CHAT_TEMPLATES
from support.five_models import FIVE
from support.preparing import prepare

Model = tuple[Preprocessor, Any]

SYSTEM, USER, ANSWER, AGAIN = (
    {"role": role, "content": content}
    for role, content in (
        ("system", "You are a wind."),
        ("user", " How gentle is a zephyr? "),
        ("assistant", "Naïve — 東京 🌬️\n\n"),
        ("user", "So?"),
    )
)
CONVERSATIONS = [[USER], [USER, ANSWER, AGAIN], [SYSTEM, USER], [SYSTEM, USER, ANSWER, AGAIN]]


def ids_of(preprocessor: Preprocessor, messages: list[dict[str, str]]) -> list[int]:
    return prepare(preprocessor, messages=json.dumps(messages)).input_ids


def test_each_of_the_five_models_has_a_template() -> None:
    assert FIVE <= CHAT_TEMPLATES.keys() <= load_catalog().keys()


@pytest.mark.parametrize("name", CHAT_TEMPLATES)
@pytest.mark.parametrize("messages", CONVERSATIONS)
def test_a_conversation_is_hugging_faces_prompt(
    models: dict[str, Model], name: str, messages: list[dict[str, str]]
) -> None:
    preprocessor, hugging_face = models[name]
    if name == "mistral-7b" and messages[0] is SYSTEM:
        with pytest.raises(InvalidRequestError, match="roles must alternate"):
            ids_of(preprocessor, messages)
        return
    assert ids_of(preprocessor, messages) == hugging_face.apply_chat_template(
        messages, add_generation_prompt=True, return_dict=False
    )


@pytest.mark.parametrize("name", ["mistral-7b", "llama-2-70b"])
@pytest.mark.parametrize("messages", [[USER, AGAIN], [ANSWER], [USER, ANSWER, ANSWER]])
def test_roles_that_do_not_alternate_are_refused(
    models: dict[str, Model], name: str, messages: list[dict[str, str]]
) -> None:
    with pytest.raises(InvalidRequestError, match=r"refuses the messages: .*must alternate"):
        ids_of(models[name][0], messages)


@pytest.mark.parametrize("name", ["stablelm-zephyr-3b", "zephyr-7b-beta"])
def test_a_message_that_the_template_would_drop_is_refused(
    models: dict[str, Model], name: str
) -> None:
    wizard = {"role": "wizard", "content": "Abracadabra"}
    with pytest.raises(InvalidRequestError, match=r"leaves out messages\[1\].*'wizard'"):
        ids_of(models[name][0], [USER, wizard])


@pytest.mark.parametrize("name", CHAT_TEMPLATES)
@pytest.mark.parametrize("prefill", ["The wind", "The wind ", " a\n\n", "", "</s>"])
def test_the_last_message_is_continued_as_hugging_face_does(
    models: dict[str, Model], name: str, prefill: str
) -> None:
    preprocessor, hugging_face = models[name]
    messages = [USER, {"role": "assistant", "content": prefill}]
    asked = RequestParameters(continue_final_message=True, split_special_tokens=False)
    inputs = prepare(preprocessor, messages=json.dumps(messages), parameters=asked)
    assert inputs.input_ids == hugging_face.apply_chat_template(
        messages, continue_final_message=True, return_dict=False
    )


def test_what_a_continued_message_spells_is_text(models: dict[str, Model]) -> None:
    preprocessor, hugging_face = models["llama-3-8b-instruct"]
    messages = [USER, {"role": "assistant", "content": "So<|eot_id|>"}]
    asked = RequestParameters(continue_final_message=True)
    inputs = prepare(preprocessor, messages=json.dumps(messages), parameters=asked)
    assert inputs.input_ids.count(hugging_face.convert_tokens_to_ids("<|eot_id|>")) == 1
    assert preprocessor.tokenizer.decode(inputs.input_ids).endswith("So<|eot_id|>")


@pytest.mark.parametrize("name", CHAT_TEMPLATES)
def test_the_heading_of_a_reply_can_be_left_out(models: dict[str, Model], name: str) -> None:
    preprocessor, hugging_face = models[name]
    asked = RequestParameters(add_generation_prompt=False)
    inputs = prepare(preprocessor, messages=json.dumps([USER]), parameters=asked)
    assert inputs.input_ids == hugging_face.apply_chat_template([USER], return_dict=False)


@pytest.mark.parametrize(
    "values", [{"add_generation_prompt": False}, {"continue_final_message": 1}]
)
def test_what_goes_with_messages_is_refused_beside_another_prompt(
    chat: Preprocessor, values: dict[str, Any]
) -> None:
    with pytest.raises(InvalidRequestError, match=f"{next(iter(values))} goes with messages"):
        prepare(chat, text_input="a", parameters=RequestParameters(**values))
