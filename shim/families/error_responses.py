"""OpenAPI's descriptions of the error replies, in the shape of each family."""

from typing import Any, Literal

Family = Literal["truss", "zephyr", "openai"]

MEANINGS = {
    400: "The body is no JSON object, or the request cannot be run.",
    401: "An API key is needed, or is not known here.",
    404: "There is no such path or model here.",
    405: "The path takes another method.",
    413: "The body is too large.",
    415: "The body has an encoding or a charset that is not read here.",
    422: "A parameter is wrong; the text names it.",
    429: "Too many requests run or wait, or the key's rate is used up.",
    500: "Generation failed.",
    503: "The model server cannot be reached, or this server is about to end.",
    504: "The request took longer than it may, and was stopped.",
}
RETRIED = (429, 503)
TEXT = {"type": "string"}
OPENAI_ERROR = {
    "type": "object",
    "properties": {
        "message": TEXT,
        "type": TEXT,
        "param": {"type": ["string", "null"]},
        "code": {"type": ["string", "null"]},
    },
    "required": ["message", "type"],
}
PROBLEMS = {"anyOf": [TEXT, {"type": "array", "items": {"type": "object"}}]}
MEMBERS: dict[Family, tuple[str, dict[str, Any]]] = {
    "truss": ("error", TEXT),
    "zephyr": ("detail", PROBLEMS),
    "openai": ("error", OPENAI_ERROR),
}


def error_responses(family: Family, *statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return the OpenAPI field `responses` of these statuses; of all, if none is named."""
    member, schema = MEMBERS[family]
    body = {"type": "object", "properties": {member: schema}, "required": [member]}
    return {
        status: {
            "description": MEANINGS[status],
            "content": {"application/json": {"schema": body, "example": _example(family, status)}},
        }
        | ({"headers": RETRY_AFTER} if status in RETRIED else {})
        for status in statuses or MEANINGS
    }


RETRY_AFTER = {
    "Retry-After": {"description": "Seconds until it is worth a try.", "schema": {"type": "string"}}
}


def _example(family: Family, status: int) -> dict[str, Any]:
    text = MEANINGS[status]
    if family == "openai":
        return {"error": {"message": text, "type": "invalid_request_error", "param": None}}
    return {MEMBERS[family][0]: text}
