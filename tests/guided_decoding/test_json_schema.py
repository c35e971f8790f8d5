import json
import re
from typing import Any

import pytest

from guided_decoding.guide import GuideError, read_guide
from guided_decoding.json_schema import checked_schema


def checked(schema: Any) -> Any:
    return json.loads(checked_schema(json.dumps(schema)))


@pytest.mark.parametrize(
    ("schema", "place"),
    [
        ({"type": "int"}, 'type is "int"; use one of array'),
        ({"properties": {"a": {"type": "text"}}}, r"properties\.a\.type is"),
        ({"type": "integer", "multipleOf": 3}, "multipleOf is not supported"),
        ({"properties": {"a": {}}, "required": ["b"]}, 'required names "b", no property'),
        ({"type": "array", "items": {"uniqueItems": True}}, r"items\.uniqueItems is not supported"),
        ({"oneOf": [{}]}, "oneOf .*; use anyOf"),
        ({"allOf": [{}, {}]}, "allOf has several schemas"),
        ({"$ref": "#/$defs/a"}, "and there is no such place"),
        ({"$ref": "http://a/b"}, "must be a place in this schema"),
        ({"anyOf": [{}], "type": "null"}, "type has no effect beside anyOf"),
        ({"type": "string", "pattern": "a", "maxLength": 2}, "maxLength has no effect beside"),
        ({"type": "string", "format": "email", "maxLength": 9}, "maxLength has no effect beside"),
        ({"type": "string", "format": "json-pointer"}, "format lets characters come that JSON"),
        ({"properties": {"a": {"pattern": "("}}}, r"properties\.a\.pattern is no regular expr"),
        ({"pattern": '"+'}, "pattern needs characters that no reply can be held to"),
        ({"pattern": "[一-龥]"}, "pattern needs characters that no reply can be held to"),
        ({"pattern": r"\bword"}, "pattern has at, which a reply cannot be held to"),
        ({"type": "number", "minimum": 0}, "minimum does not limit a value of type number"),
        ({"type": "integer", "minimum": 3, "maximum": 2}, "allows no integer"),
        ({"type": "integer", "minimum": 5}, "at most 200 values in a row"),
        ({"type": "string", "enum": ["a", 1]}, "enum holds 1, which is not of the schema's type"),
        ({"enum": []}, "enum must be a list of values"),
        ({"properties": {'a"': {}}}, "properties has a name with quotes"),
        (False, "the schema must be a schema"),
        (["a"], "the schema must be a schema"),
    ],
)
def test_what_a_reply_could_not_be_held_to_is_refused_with_its_place(
    schema: Any, place: str
) -> None:
    with pytest.raises(GuideError, match=place):
        checked(schema)


def test_a_schema_that_is_no_json_or_has_no_end_of_levels_is_refused() -> None:
    with pytest.raises(GuideError, match=r"not valid JSON: .* line 1 column 2"):
        checked_schema("{a}")
    with pytest.raises(GuideError, match="more than 64 levels deep"):
        checked_schema('{"items":' * 80 + "{}" + "}" * 80)
    with pytest.raises(GuideError, match="not valid JSON"):
        checked_schema("[" * 100_000)


def test_named_properties_are_all_there_are() -> None:
    schema = {"type": "object", "properties": {"a": {}}, "additionalProperties": True}
    assert checked(schema)["additionalProperties"] is False


@pytest.mark.parametrize(
    ("pattern", "narrowed"),
    [
        ("^[a-c]{2,4}$", "([a-c]){2,4}"),
        (".*", r'([^\x00-\x1f"\\]){0,}'),
        (r"[ -~]\d?", r"[ -!#-\[\]-~]([0-9]){0,1}"),
        ("(ab|cd)+", "(((ab|cd))){1,}"),
        ("é", "é"),
        ("[ä-æ]x?", "(ä|å|æ)(x){0,1}"),
        ("[a一-龥]", "a"),
    ],
)
def test_a_pattern_is_narrowed_to_what_json_writes_as_it_is(pattern: str, narrowed: str) -> None:
    assert checked({"type": "string", "pattern": pattern})["pattern"] == narrowed


def test_an_email_has_a_pattern_without_quotes() -> None:
    schema = checked({"type": "string", "format": "email"})
    assert "format" not in schema
    assert re.fullmatch(schema["pattern"], "a.b+c@example.org")
    assert not re.fullmatch(schema["pattern"], r'"\q"@example.org')


def test_ranges_of_integers_become_what_xgrammar_keeps_to() -> None:
    assert checked({"type": "integer", "minimum": 3, "exclusiveMaximum": 6}) == {
        "anyOf": [{"enum": [3, 4, 5]}]
    }
    whole = checked({"type": "integer", "minimum": 0})["anyOf"]
    assert whole[0] == {"type": "integer", "minimum": 0, "maximum": 9}
    assert whole[-1]["maximum"] == 10**15 - 1


@pytest.mark.parametrize(
    ("kind", "text", "problem"),
    [
        ("jsonschema", "{}", "guided_decoding_guide_type is 'jsonschema'"),
        ("json", "{}", "type json has none"),
        ("regex", "", "is missing; type regex needs one"),
    ],
)
def test_a_guide_has_a_known_type_and_a_text(kind: str, text: str, problem: str) -> None:
    with pytest.raises(GuideError, match=problem):
        read_guide(kind, text)
