"""JSON schemas: checked, and brought to the form whose every text matches them.

xgrammar 0.1.25, which TensorRT-LLM 1.2.1 has, passes over what it does not know: such a schema is
refused here, with the place, for its reply could be one that does not match.
"""

import json
from collections.abc import Iterator
from typing import Any

from guided_decoding.guide import GuideError
from guided_decoding.pattern import narrowed

Path = tuple[str, ...]

MAX_DEPTH = 64
MAX_LISTED_INTEGERS = 200
LARGEST_DIGITS = 15
LARGEST_INTEGER = 10**LARGEST_DIGITS - 1
"""The limit of an integer that has only the other one, which by itself would be passed over."""
TYPES: dict[str, tuple[type, ...]] = {
    "array": (list,),
    "boolean": (bool,),
    "integer": (int,),
    "null": (type(None),),
    "number": (int, float),
    "object": (dict,),
    "string": (str,),
}
ANYWHERE = {
    *("$schema", "$id", "$comment", "$defs", "definitions", "title", "description", "default"),
    *("examples", "deprecated", "readOnly", "writeOnly"),
}
BY_TYPE = {
    "array": {"items", "prefixItems", "minItems", "maxItems"},
    "integer": {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum"},
    "object": {"properties", "required", "additionalProperties"},
    "string": {"minLength", "maxLength", "pattern", "format"},
}
ALONE = ("$ref", "anyOf", "allOf", "enum", "const")
"""Beside one of them all else is passed over, but for the type of values."""
FORMATS_OF_ESCAPED_TEXT = ("json-pointer", "relative-json-pointer")
FORMATS = (
    *("date", "date-time", "duration", "email", "hostname", "ipv4", "ipv6", "time"),
    *("uri", "uri-reference", "uri-template", "uuid", *FORMATS_OF_ESCAPED_TEXT),
)
"""Those that xgrammar knows; any other does not limit a reply."""
EMAIL = r"[\w+-]+(\.[\w+-]+)*@[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*(\.[a-zA-Z0-9]+(-[a-zA-Z0-9]+)*)+"
"""Without quotes; xgrammar's own lets text come that is no JSON."""
COUNTS = ("minItems", "maxItems", "minLength", "maxLength")
HINTS = {
    "oneOf": "use anyOf",
    "multipleOf": "leave it out, or list the values in enum",
    "uniqueItems": "leave it out",
}


def checked_schema(text: str) -> str:
    """Return a schema whose every text matches `text`, and which xgrammar understands whole.

    Objects get no other properties than those that they name; integers with one limit get another.

    Raises:
        GuideError: it is not JSON, not a schema, or asks for what no grammar here can; the text
            says where.
    """
    try:
        schema = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GuideError(f"the schema is not valid JSON: {error}") from error
    checked = json.dumps(_checked(schema, (), schema), ensure_ascii=False)
    try:
        checked.encode()
    except UnicodeEncodeError as error:  # JSON can escape half of a surrogate pair
        raise GuideError(f"the schema has half of a surrogate pair: {error}") from error
    return checked


def _checked(schema: Any, path: Path, root: Any) -> Any:
    if schema is True:
        return schema
    if not isinstance(schema, dict):
        raise _wrong(path, "must be a schema, an object or true")
    if len(path) > MAX_DEPTH:
        raise _wrong(path, f"is more than {MAX_DEPTH} levels deep")
    checked = dict(schema)
    for name in ("$defs", "definitions"):
        if name in schema:
            checked[name] = _each(schema[name], (*path, name), root)
    alone = [name for name in ALONE if name in schema]
    if alone:
        _check_beside(schema, alone[0], path)
        return checked | _alone(schema, alone[0], path, root)
    types = _types(schema, path)
    known = set().union(*(BY_TYPE.get(each, set()) for each in types))
    for name in schema.keys() - ANYWHERE - known - {"type"}:
        raise _wrong((*path, name), _why_not(name, types))
    for name in COUNTS:
        if name in schema:
            _check_count(schema[name], (*path, name))
    if "object" in types:
        checked |= _object(schema, path, root)
    if "array" in types:
        checked |= _array(schema, path, root)
    if "string" in types:
        checked |= _string(schema, path)
        if "pattern" in checked:
            checked.pop("format", None)
    if "integer" in types:
        checked = _integer(checked, path)
    return checked


def _alone(schema: dict[str, Any], name: str, path: Path, root: Any) -> dict[str, Any]:
    value, place = schema[name], (*path, name)
    match name:
        case "$ref":
            _check_reference(value, place, root)
        case "anyOf" | "allOf":
            if not isinstance(value, list) or not value:
                raise _wrong(place, "must be a list of schemas")
            if name == "allOf" and len(value) > 1:
                raise _wrong(place, "has several schemas, which are not combined; write one")
            return _joined(
                name, [_checked(each, (*place, str(i)), root) for i, each in enumerate(value)]
            )
        case "enum":
            if not isinstance(value, list) or not value:
                raise _wrong(place, "must be a list of values")
            _check_values(value, schema, place)
        case "const":
            _check_values([value], schema, path)
    return {}


def _check_beside(schema: dict[str, Any], name: str, path: Path) -> None:
    allowed = ANYWHERE | {name} | ({"type"} if name in ("enum", "const") else set())
    for other in schema.keys() - allowed:
        raise _wrong((*path, other), f"has no effect beside {name}; put it inside, or leave it out")


def _types(schema: dict[str, Any], path: Path) -> list[str]:
    """Return the types that a schema without `ALONE` allows."""
    given = schema.get("type")
    if given is None:
        named = [name for name, keywords in BY_TYPE.items() if keywords & schema.keys()]
        if len(named) > 1:
            raise _wrong(path, f"has keywords of {' and '.join(named)}; say its type")
        return named
    types = given if isinstance(given, list) else [given]
    for each in types:
        if not isinstance(each, str) or each not in TYPES:
            raise _wrong((*path, "type"), f"is {json.dumps(each)}; use one of {', '.join(TYPES)}")
    if not types:
        raise _wrong((*path, "type"), "names no type")
    return types


def _check_values(values: list[Any], schema: dict[str, Any], path: Path) -> None:
    if "type" not in schema:
        return
    allowed = tuple(kind for each in _types(schema, path) for kind in TYPES[each])
    for value in values:
        if not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise _wrong(path, f"holds {json.dumps(value)[:40]}, which is not of the schema's type")


def _object(schema: dict[str, Any], path: Path, root: Any) -> dict[str, Any]:
    properties = _each(schema.get("properties", {}), (*path, "properties"), root)
    for name in properties:
        if json.dumps(name, ensure_ascii=False) != f'"{name}"':
            # xgrammar 0.1.25 makes a grammar of such a name that it cannot read itself.
            raise _wrong((*path, "properties"), "has a name with quotes, backslashes or controls")
    required = schema.get("required", [])
    if not isinstance(required, list):
        raise _wrong((*path, "required"), "must be a list of names")
    for name in required:
        if name not in properties:
            raise _wrong((*path, "required"), f"names {json.dumps(name)[:40]}, no property")
    further = schema.get("additionalProperties", not properties)
    if isinstance(further, bool):
        # A name given twice counts by its last value, so there are no others beside named ones.
        further = further and not properties
    elif properties:
        raise _wrong((*path, "additionalProperties"), "is not checked beside properties; use false")
    else:
        further = _checked(further, (*path, "additionalProperties"), root)
    result = {"additionalProperties": further}
    return result | ({"properties": properties} if properties else {})


def _array(schema: dict[str, Any], path: Path, root: Any) -> dict[str, Any]:
    result: dict[str, Any] = {}
    items = schema.get("items", True)
    if items is not False:
        result["items"] = _checked(items, (*path, "items"), root)
    if "prefixItems" in schema:
        place = (*path, "prefixItems")
        first = schema["prefixItems"]
        if not isinstance(first, list) or not first:
            raise _wrong(place, "must be a list of schemas")
        if "items" not in schema:
            result["items"] = False
        result["prefixItems"] = [
            _checked(each, (*place, str(i)), root) for i, each in enumerate(first)
        ]
        if schema.get("minItems", len(first)) > len(first) and result["items"] is False:
            raise _wrong((*path, "minItems"), "is more than there are in prefixItems")
        if schema.get("maxItems", len(first)) < len(first):
            raise _wrong((*path, "maxItems"), "is less than there are in prefixItems")
    _check_order(schema, "minItems", "maxItems", path)
    return result


def _string(schema: dict[str, Any], path: Path) -> dict[str, Any]:
    _check_order(schema, "minLength", "maxLength", path)
    name = next((each for each in ("pattern", "format") if each in schema), None)
    if name is None or (name == "format" and schema["format"] not in FORMATS):
        return {}
    for other in ("minLength", "maxLength", "format"):
        if other in schema and other != name:
            raise _wrong((*path, other), f"has no effect beside {name}; use a pattern for both")
    if schema.get("format") in FORMATS_OF_ESCAPED_TEXT:
        raise _wrong((*path, "format"), "lets characters come that JSON escapes; leave it out")
    if name == "format" and schema["format"] != "email":
        return {}
    pattern = schema["pattern"] if name == "pattern" else EMAIL
    if not isinstance(pattern, str):
        raise _wrong((*path, "pattern"), "must be a regular expression")
    try:
        return {"pattern": narrowed(pattern)}
    except GuideError as error:
        raise _wrong((*path, "pattern"), str(error)) from error


def _integer(schema: dict[str, Any], path: Path) -> dict[str, Any]:
    limits = {name: schema.pop(name) for name in BY_TYPE["integer"] if name in schema}
    for name, value in limits.items():
        if isinstance(value, bool) or not isinstance(value, int | float) or value != int(value):
            raise _wrong((*path, name), "must be a whole number")
        if abs(value) > LARGEST_INTEGER:
            raise _wrong((*path, name), f"must be within {LARGEST_INTEGER:g} of 0")
    if not limits:
        return schema
    lowest = max(
        int(limits.get("minimum", -LARGEST_INTEGER)),
        int(limits.get("exclusiveMinimum", -LARGEST_INTEGER - 1)) + 1,
    )
    highest = min(
        int(limits.get("maximum", LARGEST_INTEGER)),
        int(limits.get("exclusiveMaximum", LARGEST_INTEGER + 1)) - 1,
    )
    if lowest > highest:
        raise _wrong(path, f"allows no integer: at least {lowest}, at most {highest}")
    others = [each for each in _types(schema, path) if each != "integer"]
    rest = [{**schema, "type": others}] if others else []
    annotations = {name: value for name, value in schema.items() if name in ANYWHERE}
    return annotations | {"anyOf": [*_integers(lowest, highest, path), *rest]}


def _joined(name: str, schemas: list[Any]) -> dict[str, Any]:
    """Return `anyOf` as one choice of values where that is all it is: see `literals`."""
    values: list[Any] = []
    for each in schemas:
        match each:
            case {"enum": enum}:
                values += enum
            case {"const": const}:
                values.append(const)
            case _:
                return {name: schemas}
    return {"enum": values}


def _integers(lowest: int, highest: int, path: Path) -> list[dict[str, Any]]:
    """Return schemas of a range of integers that xgrammar 0.1.25 keeps to."""
    if highest - lowest < MAX_LISTED_INTEGERS:
        return [{"enum": [*range(lowest, highest + 1)]}]
    if lowest in (0, 1) and highest == LARGEST_INTEGER:
        decades = [(10**k, 10 ** (k + 1) - 1) for k in range(1, LARGEST_DIGITS)]
        return [
            {"type": "integer", "minimum": low, "maximum": high}
            for low, high in [(lowest, 9), *decades]
        ]
    raise _wrong(
        path,
        f"limits an integer to {lowest} to {highest}; a reply can be held to at most "
        f"{MAX_LISTED_INTEGERS} values in a row, or to a minimum of 0 or 1",
    )


def _each(schemas: Any, path: Path, root: Any) -> dict[str, Any]:
    if not isinstance(schemas, dict):
        raise _wrong(path, "must be an object of schemas")
    return {name: _checked(each, (*path, name), root) for name, each in schemas.items()}


def _check_count(value: Any, path: Path) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise _wrong(path, "must be a whole number, 0 or more")


def _check_order(schema: dict[str, Any], least: str, most: str, path: Path) -> None:
    if schema.get(least, 0) > schema.get(most, schema.get(least, 0)):
        raise _wrong((*path, least), f"is more than {most}")


def _check_reference(reference: Any, path: Path, root: Any) -> None:
    if not isinstance(reference, str) or not (reference == "#" or reference.startswith("#/")):
        raise _wrong(path, "must be a place in this schema, such as #/$defs/name")
    target = root
    for part in _parts(reference):
        if not isinstance(target, dict) or part not in target:
            raise _wrong(path, f"is {reference[:80]}, and there is no such place")
        target = target[part]
    if isinstance(target, dict) and "$ref" in target:
        raise _wrong(path, "refers to another reference; give the place that that one means")


def _parts(reference: str) -> Iterator[str]:
    for part in reference.removeprefix("#").split("/")[1:]:
        yield part.replace("~1", "/").replace("~0", "~")


def _why_not(name: str, types: list[str]) -> str:
    if any(name in keywords for keywords in BY_TYPE.values()):
        return f"does not limit a value of type {' or '.join(types) or 'any'} here; leave it out"
    return (
        f"is not supported in a schema that a reply must match; {HINTS.get(name, 'leave it out')}"
    )


def _wrong(path: Path, problem: str) -> GuideError:
    place = ".".join(path) if path else "the schema"
    return GuideError(f"{place[:200]} {problem}")
