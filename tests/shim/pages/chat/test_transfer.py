import json

import pytest

from shim.pages.chat.session import Message, Session
from shim.pages.chat.transfer import TransferError, restore, to_json, to_markdown

MODELS = ["stablelm-zephyr-3b", "zephyr-7b-beta"]


def session() -> Session:
    made = Session(MODELS)
    made.choose_model("zephyr-7b-beta")
    made.choose_endpoint("/zephyr/code-doc")
    made.api_key = "a-secret-key-of-someone"
    made.system_message = "Be short."
    made.parameters["top_k"] = 5
    made.messages += [
        Message("user", "def f(): pass", is_code=True, language="python"),
        Message("assistant", "Does *nothing*.", model="zephyr-7b-beta", completion_tokens=4),
    ]
    return made


def test_a_file_restores_the_conversation_and_its_choices_without_the_key() -> None:
    content = to_json(session())
    assert "secret" not in content
    other = Session(MODELS)
    restore(other, content)
    assert to_json(other) == content
    assert other.api_key == ""


def test_a_file_of_a_model_that_is_not_served_here_restores_its_messages() -> None:
    other = Session(MODELS[:1])
    restore(other, to_json(session()))
    assert other.model.name == MODELS[0]
    assert other.parameters == {}
    assert [message.text for message in other.messages] == ["def f(): pass", "Does *nothing*."]


def test_parameters_that_the_route_does_not_take_are_left_out() -> None:
    saved = json.loads(to_json(session()))
    saved["parameters"] |= {"seed": 1, "anything": {}}
    other = Session(MODELS)
    restore(other, json.dumps(saved))
    assert other.parameters == {"top_k": 5}


@pytest.mark.parametrize(
    "content", ["", "no json", "[]", '{"messages": []}', '{"format": "other", "messages": []}']
)
def test_any_other_file_is_refused_and_changes_nothing(content: str) -> None:
    made = session()
    before = to_json(made)
    with pytest.raises(TransferError):
        restore(made, content)
    assert to_json(made) == before


def test_markdown_shows_code_as_code() -> None:
    assert to_markdown(session()) == (
        "# Conversation with Zephyr 7B beta\n\n## System\n\nBe short.\n\n"
        "## User\n\n```python\ndef f(): pass\n```\n\n## zephyr-7b-beta\n\nDoes *nothing*.\n"
    )
