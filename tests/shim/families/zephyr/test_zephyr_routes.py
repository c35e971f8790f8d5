"""The Zephyr routes in front of a real tritonserver."""

from typing import Any

import httpx
import pytest

from catalog import load_catalog

pytestmark = pytest.mark.server

QUESTION = "What is a zephyr?"
CODE = "def add(a, b): return a + b"
GREEDY = {"do_sample": False, "max_new_tokens": 40}
TIMEOUT = 120


def ask(shim_url: str, route: str, **body: Any) -> str:
    reply = httpx.post(f"{shim_url}/zephyr/{route}", json=body, timeout=TIMEOUT)
    assert reply.status_code == 200, reply.text
    assert list(reply.json()) == ["response"]
    assert reply.headers["x-request-id"]
    assert int(reply.headers["x-usage-completion-tokens"]) <= body.get("max_new_tokens", 256)
    text: str = reply.json()["response"]
    return text


def ask_model(shim_url: str, system_message: str, user_message: str, **parameters: Any) -> str:
    """The same conversation over the model's predict route."""
    reply = httpx.post(
        f"{shim_url}/v1/models/zephyr-7b-beta:predict",
        json={"user_message": user_message, "system_message": system_message} | parameters,
        timeout=TIMEOUT,
    )
    assert reply.status_code == 200, reply.text
    text: str = reply.json()["response"]
    return text


@pytest.fixture(scope="module")
def system_messages() -> dict[str, str]:
    app = load_catalog()["zephyr-7b-beta"].zephyr
    assert app is not None
    return {
        "python": app.system_message,
        "code-doc": app.code_doc_system_message,
        "structured-code-doc": app.structured_code_doc_system_message,
    }


def test_python_uses_its_own_system_message(shim_url: str, system_messages: dict[str, str]) -> None:
    expected = ask_model(shim_url, system_messages["python"], QUESTION, **GREEDY).strip()
    assert expected
    assert ask(shim_url, "python", user_message=QUESTION, **GREEDY) == expected
    assert (
        ask(shim_url, "python", user_message=QUESTION, system_message="Be a pirate.", **GREEDY)
        == expected
    )


@pytest.mark.parametrize("system_message", ["You are a pirate.", "Answer in one sentence."])
def test_system_message_is_the_querys(shim_url: str, system_message: str) -> None:
    expected = ask_model(shim_url, system_message, QUESTION, **GREEDY).strip()
    assert (
        ask(
            shim_url,
            "system-message",
            user_message=QUESTION,
            system_message=system_message,
            **GREEDY,
        )
        == expected
    )


def test_a_system_message_that_is_not_given_is_pythons(
    shim_url: str, system_messages: dict[str, str]
) -> None:
    expected = ask_model(shim_url, system_messages["python"], QUESTION, **GREEDY).strip()
    assert ask(shim_url, "system-message", user_message=QUESTION, **GREEDY) == expected
    null = {"user_message": QUESTION, "system_message": None}
    assert ask(shim_url, "system-message", **null, **GREEDY) == expected


@pytest.mark.parametrize(
    ("query", "language", "ending"),
    [
        ({}, "python", ""),
        ({"language": "rust", "include_comments": True}, "rust", ""),
        ({"include_comments": False}, "python", " Do not include comments."),
    ],
)
def test_code_doc_names_the_language_and_leaves_comments_out_on_request(
    shim_url: str,
    system_messages: dict[str, str],
    query: dict[str, Any],
    language: str,
    ending: str,
) -> None:
    system_message = system_messages["code-doc"].replace("{language}", language) + ending
    expected = ask_model(shim_url, system_message, CODE, **GREEDY).strip()
    assert expected
    assert ask(shim_url, "code-doc", code=CODE, **query, **GREEDY) == expected


def test_structured_code_doc_documents_the_given_code(
    shim_url: str, system_messages: dict[str, str]
) -> None:
    expected = ask_model(shim_url, system_messages["structured-code-doc"], CODE, **GREEDY).strip()
    assert expected
    query = {"user_message": CODE, "system_message": "Be a pirate."}
    assert ask(shim_url, "structured-code-doc", **query, **GREEDY) == expected


def test_temperature_0_is_greedy(shim_url: str) -> None:
    greedy = ask(shim_url, "python", user_message=QUESTION, **GREEDY)
    cold = ask(shim_url, "python", user_message=QUESTION, temperature=0, max_new_tokens=40)
    assert cold == greedy


def test_numbers_may_be_strings_as_with_fastapi(shim_url: str) -> None:
    greedy = ask(shim_url, "python", user_message=QUESTION, **GREEDY)
    text = {"do_sample": "false", "max_new_tokens": "40"}
    reply = httpx.post(
        f"{shim_url}/zephyr/python", json={"user_message": QUESTION, **text}, timeout=TIMEOUT
    )
    assert reply.json()["response"] == greedy


@pytest.mark.parametrize("in_query", [True, False])
def test_raw_holds_prompt_answer_and_special_tokens(
    shim_url: str, in_query: bool, system_messages: dict[str, str]
) -> None:
    message = {"user_message": QUESTION}
    reply = httpx.post(
        f"{shim_url}/zephyr/raw",
        params=message if in_query else None,
        json=None if in_query else message,
        timeout=TIMEOUT,
    )
    assert reply.status_code == 200
    text = reply.json()["response"]
    assert system_messages["python"] in text
    assert QUESTION in text
    assert not text.endswith(QUESTION)
    assert "<|" in text or "</s>" in text


@pytest.mark.parametrize("route", ["raw", "python", "system-message", "structured-code-doc"])
def test_a_message_that_leaves_no_room_is_refused_in_fastapis_form(
    shim_url: str, route: str
) -> None:
    reply = httpx.post(
        f"{shim_url}/zephyr/{route}", json={"user_message": "wind " * 5000}, timeout=TIMEOUT
    )
    assert reply.status_code == 400
    assert list(reply.json()) == ["detail"]
    assert "4096" in reply.json()["detail"]
    assert reply.headers["x-request-id"]
