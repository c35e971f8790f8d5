import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.http.body import InvalidBodyError, parse_json_object

TEXT = st.text(st.characters(exclude_categories=["Cs"]))
SCALARS = (
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**64 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | TEXT
)
VALUES = st.recursive(
    SCALARS,
    lambda children: st.lists(children) | st.dictionaries(TEXT, children),
    max_leaves=10,
)
OBJECTS = st.dictionaries(TEXT, VALUES)


def with_trailing_commas(value: Any) -> str:
    if isinstance(value, dict) and value:
        fields = (
            f"{json.dumps(name)}: {with_trailing_commas(each)}" for name, each in value.items()
        )
        return "{" + ", ".join(fields) + ",\n}"
    if isinstance(value, list) and value:
        return "[" + ", ".join(map(with_trailing_commas, value)) + " , ]"
    return json.dumps(value)


@pytest.mark.slow
@given(OBJECTS, st.booleans())
def test_every_json_object_is_read_as_the_standard_library_reads_it(
    value: dict[str, Any], ensure_ascii: bool
) -> None:
    body = json.dumps(value, ensure_ascii=ensure_ascii).encode()
    assert parse_json_object(body) == value


@pytest.mark.slow
@given(OBJECTS)
def test_trailing_commas_change_nothing(value: dict[str, Any]) -> None:
    assert parse_json_object(with_trailing_commas(value).encode()) == value


@given(st.binary() | TEXT.map(str.encode))
def test_no_body_raises_anything_else(body: bytes) -> None:
    with suppress(InvalidBodyError):
        assert isinstance(parse_json_object(body), dict)


@pytest.mark.parametrize(
    "body", ['{"top_p": 1, "seed": 2, "top_p": 1}', '{"messages": [{"top_p": 1, "top_p": 2}],}']
)
def test_a_name_that_comes_twice_is_refused(body: str) -> None:
    with pytest.raises(InvalidBodyError, match="the name 'top_p' comes twice in one object"):
        parse_json_object(body.encode())


def test_the_zephyr_readmes_payload_is_read() -> None:
    body = b'{\n  "user_message": "string",\n  "top_p": 0.95,\n}\n'
    assert parse_json_object(body) == {"user_message": "string", "top_p": 0.95}


def test_a_comma_before_a_bracket_inside_a_string_is_kept() -> None:
    assert parse_json_object(rb'{"a": "\",}", "b": ",]",}') == {"a": '",}', "b": ",]"}


def test_a_byte_order_mark_is_skipped() -> None:
    assert parse_json_object(b'\xef\xbb\xbf{"a": 1}') == {"a": 1}


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        (b"", "the body is empty"),
        (b" \n", "the body is empty"),
        (b"[1]", "the body must be a JSON object, not an array"),
        (b'"text"', "the body must be a JSON object, not a string"),
        (b"null", "the body must be a JSON object, not null"),
        (b"true", "the body must be a JSON object, not a boolean"),
        (b"1.5", "the body must be a JSON object, not a number"),
        (b'{"a": 1', "Expecting ',' delimiter: line 1 column 8 (char 7)"),
        (
            b"{'a': 1}",
            "Expecting property name enclosed in double quotes: line 1 column 2 (char 1)",
        ),
        (b'{"a": 1,, }', "line 1 column"),
        (b'{"a": 1,} x', "Extra data: line 1 column 11 (char 10)"),
        (b'{"a": "\n"}', "Invalid control character at: line 1 column 8 (char 7)"),
        (b'{"a": NaN}', "NaN is not a JSON value"),
        (b'{"a": -Infinity,}', "-Infinity is not a JSON value"),
        (b'{"a": 1e999}', "the number 1e999 is too large"),
        (b'{"a": -' + b"1" * 5000 + b"}", "has more than 20 digits"),
        (b'{"a": "\xff"}', "the body is not UTF-8: invalid start byte at byte 7"),
        (b'{"a": "\\ud800"}', r"\ud800 at char 7 is half of a surrogate pair"),
        (b'{"a": "\\ude00\\ud83d"}', r"\ude00 at char 7 is half of a surrogate pair"),
        (b'{"a": ' + b"[" * 100_000, "nested deeper than 32 levels at char 37"),
    ],
)
def test_a_wrong_body_is_refused_with_the_reason(body: bytes, reason: str) -> None:
    with pytest.raises(InvalidBodyError) as raised:
        parse_json_object(body)
    assert reason in str(raised.value)


@pytest.mark.parametrize(
    ("literal", "value"),
    [
        ("3.0", 3),
        ("-2.50e1", -25),
        ("1E2", 100),
        ("-0.0", 0),
        ("9007199254740991.0", 2**53 - 1),
    ],
)
def test_a_whole_number_is_an_integer(literal: str, value: int) -> None:
    found = parse_json_object(f'{{"a": {literal},}}'.encode())["a"]
    assert (type(found), found) == (int, value)


@pytest.mark.parametrize("literal", ["3.5", "1e16", "1e300", "0.1e0"])
def test_another_number_stays_one(literal: str) -> None:
    found = parse_json_object(f'{{"a": {literal}}}'.encode())["a"]
    assert (type(found), found) == (float, float(literal))


def test_an_escaped_backslash_begins_no_surrogate() -> None:
    assert parse_json_object(rb'{"a": "\\ud800 \ud83d\ude00"}') == {"a": "\\ud800 \U0001f600"}


@pytest.mark.parametrize("unit", [b'"\\"', b",", b"[],", b'{"a":', b"\\", b'"', b", "])
def test_a_hostile_body_is_refused_in_time_linear_in_its_length(unit: bytes) -> None:
    # A megabyte; anything quadratic would take minutes.
    with pytest.raises(InvalidBodyError):
        parse_json_object(b'{"a": ' + unit * (1_000_000 // len(unit)))
