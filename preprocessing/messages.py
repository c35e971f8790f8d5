"""A conversation in JSON, checked."""

import json
from typing import Any

from aeolus_contract.failures import InvalidRequestError

FIELDS = {"role", "content"}


def parse_messages(text: str) -> list[dict[str, str]]:
    """Read a JSON list of `{"role": ..., "content": ...}`.

    Raises:
        InvalidRequestError: it is anything else; the text says where.
    """
    try:
        messages = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"messages is not valid JSON: {error}") from error
    if not isinstance(messages, list) or not messages:
        raise InvalidRequestError("messages must be a list of at least one message")
    for number, message in enumerate(messages):
        _check_message(f"messages[{number}]", message)
    return messages


def _check_message(where: str, message: Any) -> None:
    if not isinstance(message, dict) or set(message) != FIELDS:
        raise InvalidRequestError(f"{where} must be an object with the keys role and content")
    for field, value in message.items():
        if not isinstance(value, str):
            raise InvalidRequestError(f"{where}.{field} must be a string")
        try:
            value.encode()
        except UnicodeEncodeError as error:  # JSON can escape half of a surrogate pair
            raise InvalidRequestError(f"{where}.{field} is not valid Unicode: {error}") from error
