"""Reading a request's body as a JSON object, whatever its Content-Type says."""

import gzip
import io
import json
import math
import re
import zlib
from collections import Counter
from typing import Any, NoReturn

from fastapi import HTTPException, Request

from shim.parameters.problems import MAX_QUOTED, shorten

MAX_NESTING = 32
MAX_NUMBER_DIGITS = 20  # the longest meant number is a 64-bit seed
EXACT_INTEGERS = 2**53
"""Below it a float has every integer (RFC 8259, section 6)."""
READ_ON_BYTES = 1 << 26
"""Of a body that is too long: who is cut off while sending does not see why."""
CHARSET = re.compile(r';\s*charset\s*=\s*"?([^\s;"]*)', re.IGNORECASE)
CHARSETS = ("utf-8", "utf8", "us-ascii", "ascii")
GZIP = ("gzip", "x-gzip")

# A string that is not closed runs to the end; possessive, so that no body costs more than one pass.
STRING = r'"[^"\\]*+(?:\\.[^"\\]*+)*+"?'
STRING_OR_BRACKET = re.compile(rf"{STRING}|([\[{{])|([\]}}])", re.DOTALL)
STRING_OR_TRAILING_COMMA = re.compile(rf"({STRING})|,(?=\s*[\]}}])", re.DOTALL)
SURROGATE_ESCAPE = re.compile(
    r"\\u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}"
    r"|(?P<lone>\\u[dD][89a-fA-F][0-9a-fA-F]{2})"
    r"|\\."
)
KINDS = {
    list: "an array",
    str: "a string",
    bool: "a boolean",
    int: "a number",
    float: "a number",
    type(None): "null",
}


class InvalidBodyError(ValueError):
    """The body is not a JSON object; the text says why, and where if that is known."""


async def read_json_object(request: Request, max_bytes: int) -> dict[str, Any]:
    """Read and parse the body of a request.

    Raises:
        HTTPException: 413 if the body is longer than `max_bytes`, as sent or decompressed; 415 if
            it has an encoding other than gzip or a charset other than UTF-8; 400 if it is not JSON
            object.
    """
    body = await _read_bytes(request, max_bytes)
    _check_charset(request.headers.get("content-type", ""))
    body = _decompress(body, request.headers.getlist("content-encoding"), max_bytes)
    try:
        return parse_json_object(body)
    except InvalidBodyError as error:
        raise HTTPException(400, f"Invalid JSON payload: {error}") from error


def _check_charset(content_type: str) -> None:
    found = CHARSET.search(content_type)
    if found and found[1].lower() not in CHARSETS:
        raise HTTPException(
            415, f"charset {shorten(found[1])} is not supported; send JSON in UTF-8"
        )


def _decompress(body: bytes, encodings: list[str], max_bytes: int) -> bytes:
    encoding = ", ".join(encodings).strip().lower()
    if encoding in ("", "identity"):
        return body
    if encoding not in GZIP:
        raise HTTPException(
            415,
            f"Content-Encoding {shorten(encoding)} is not supported; send gzip, or none",
            {"accept-encoding": "gzip, identity"},  # RFC 9110, section 12.5.3
        )
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(body)) as file:
            decompressed = file.read(max_bytes + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise HTTPException(400, f"The request body is not valid gzip: {error}") from error
    if len(decompressed) > max_bytes:
        raise _too_large(max_bytes, "decompressed")
    return decompressed


def _too_large(max_bytes: int, state: str = "") -> HTTPException:
    text = f"The {state} request body is larger than {max_bytes} bytes".replace("  ", " ")
    return HTTPException(413, text, {"connection": "close"})


async def _read_bytes(request: Request, max_bytes: int) -> bytes:
    too_large = _too_large(max_bytes)
    is_asked_for = "expect" in request.headers
    if is_asked_for and int(request.headers.get("content-length", 0)) > max_bytes:
        raise too_large
    body, size = bytearray(), 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= max_bytes:
            body += chunk
        elif size > READ_ON_BYTES:
            break
    if size > max_bytes:
        raise too_large
    return bytes(body)


def parse_json_object(body: bytes) -> dict[str, Any]:
    """Parse RFC 8259 JSON, strictly but for a comma before a closing bracket.

    Raises:
        InvalidBodyError: it is not a JSON object, or one that no request can mean:
            nested deeper than `MAX_NESTING`, with numbers longer than `MAX_NUMBER_DIGITS`, or with
            text that has no UTF-8 form.
    """
    text = _decode(body)
    _check_nesting(text)
    value = _parse(text)
    _check_surrogates(text)
    if not isinstance(value, dict):
        raise InvalidBodyError(f"the body must be a JSON object, not {KINDS[type(value)]}")
    return value


def _decode(body: bytes) -> str:
    if not body.strip():
        raise InvalidBodyError("the body is empty")
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidBodyError(
            f"the body is not UTF-8: {error.reason} at byte {error.start}"
        ) from error


def _parse(text: str) -> Any:
    try:
        return _loads(text)
    except json.JSONDecodeError as strict_error:
        # The documented payload of the Zephyr API ends in such a comma. A space in its place keeps
        # the positions.
        relaxed = STRING_OR_TRAILING_COMMA.sub(lambda match: match[1] or " ", text)
        if relaxed == text:
            raise InvalidBodyError(str(strict_error)) from strict_error
    try:
        return _loads(relaxed)
    except json.JSONDecodeError as error:
        raise InvalidBodyError(str(error)) from error


def _loads(text: str) -> Any:
    return json.loads(
        text,
        object_pairs_hook=_object,
        parse_int=_parse_int,
        parse_float=_parse_float,
        parse_constant=_refuse_constant,
    )


def _object(fields: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(fields)
    if len(value) < len(fields):  # and which of the two is meant, nobody knows
        names = Counter(name for name, _ in fields)
        name = next(name for name in names if names[name] > 1)
        raise InvalidBodyError(f"the name '{name[:MAX_QUOTED]}' comes twice in one object")
    return value


def _parse_int(literal: str) -> int:
    if len(literal.lstrip("-")) > MAX_NUMBER_DIGITS:
        raise InvalidBodyError(
            f"the number {literal[:MAX_NUMBER_DIGITS]}... has more than {MAX_NUMBER_DIGITS} digits"
        )
    return int(literal)


def _parse_float(literal: str) -> float | int:
    """Return a whole number as an integer: JSON has one kind of numbers, 3.0 is 3."""
    value = float(literal)
    if math.isinf(value):
        raise InvalidBodyError(f"the number {literal[:MAX_NUMBER_DIGITS]} is too large")
    return int(value) if value.is_integer() and abs(value) < EXACT_INTEGERS else value


def _refuse_constant(name: str) -> NoReturn:
    raise InvalidBodyError(f"{name} is not a JSON value")


def _check_nesting(text: str) -> None:
    depth = 0
    for match in STRING_OR_BRACKET.finditer(text):
        if match[1]:
            depth += 1
        elif match[2]:
            depth -= 1
        if depth > MAX_NESTING:
            raise InvalidBodyError(
                f"nested deeper than {MAX_NESTING} levels at char {match.start()}"
            )


def _check_surrogates(text: str) -> None:
    for match in SURROGATE_ESCAPE.finditer(text):
        if match["lone"]:
            raise InvalidBodyError(
                f"{match['lone']} at char {match.start()} is half of a surrogate pair"
            )
