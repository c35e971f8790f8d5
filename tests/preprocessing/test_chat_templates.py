"""Conversations of the five models become the prompts that Hugging Face makes of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from aeolus_contract.failures import InvalidRequestError
from catalog import load_catalog
from preprocessing.preprocessor import Preprocessor
from support.chat_templates import CHAT_TEMPLATES
from support.preparing import prepare
from support.tokenizers_for_tests import save_byte_level_bpe, save_sentencepiece_bpe

BYTE_LEVEL = ("stablelm-zephyr-3b", "llama-3-8b-instruct")
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


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Model]:
    made = {}
    for name, template in CHAT_TEMPLATES.items():
        directory: Path = tmp_path_factory.mktemp(name)
        (save_byte_level_bpe if name in BYTE_LEVEL else save_sentencepiece_bpe)(directory)
        (directory / "chat_template.jinja").write_text(template)
        made[name] = (
            Preprocessor.load(directory, 4096, 4, "reference"),
            AutoTokenizer.from_pretrained(directory),
        )
    return made


def ids_of(preprocessor: Preprocessor, messages: list[dict[str, str]]) -> list[int]:
    return prepare(preprocessor, messages=json.dumps(messages)).input_ids


def test_every_model_has_a_template() -> None:
    assert CHAT_TEMPLATES.keys() == load_catalog().keys()


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
