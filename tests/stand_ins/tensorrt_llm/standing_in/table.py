"""Classes and enumerations made from executor_bindings.json, which refuse all that it lacks.

An unknown name, keyword, type or value of an enumeration is a TypeError or an AttributeError, as
from nanobind; a value out of range is a RuntimeError, as from the C++ classes' checks. In two
respects they are stricter than the real ones: nothing is converted, and no attribute can be added.
"""

import datetime
import enum
import json
import os
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

TABLE: dict[str, Any] = json.loads(
    (Path(__file__).resolve().parents[2] / "executor_bindings.json").read_text(encoding="utf-8")
)
BOUND: dict[str, Any] = {}
"""What stands in the module, by name."""
REQUIRED = object()

_INTEGERS = {"int32": (-(2**31), 2**31), "int64": (-(2**63), 2**63), "uint64": (0, 2**64)}
_PLAIN: dict[str, type | tuple[type, ...]] = {
    "str": str,
    "bytes": bytes,
    "bool": bool,
    "dict": dict,
    "object": object,
    "timedelta": datetime.timedelta,
    "path": (str, os.PathLike),
}
_CHECKS: dict[str, Callable[[Any], bool]] = {
    "> 0": lambda value: value > 0,
    ">= 0": lambda value: value >= 0,
    "<= 1": lambda value: value <= 1,
    "not empty": lambda value: len(value) > 0,
    "1 dimension": lambda value: value.dim() == 1,
}


def is_of(kind: str, value: Any) -> bool:
    """Say whether a value is of a type of the table's notation."""
    if kind.endswith("?"):
        return value is None or is_of(kind[:-1], value)
    if kind.startswith("list["):
        return isinstance(value, list) and all(is_of(kind[5:-1], each) for each in value)
    if kind in _INTEGERS:
        low, high = _INTEGERS[kind]
        return isinstance(value, int) and not isinstance(value, bool) and low <= value < high
    if kind == "float":
        return isinstance(value, int | float) and not isinstance(value, bool)
    if kind == "callable":
        return callable(value)
    if kind == "Tensor":
        # torch is imported by whoever has made one.
        return type(value).__module__ == "torch" and type(value).__name__ == "Tensor"
    plain = _PLAIN.get(kind)
    return isinstance(value, plain if plain is not None else named(kind))


def named(name: str) -> Any:
    """Return a class or an enumeration, nested ones by their full name."""
    outer, _, inner = name.partition(".")
    return getattr(BOUND[outer], inner) if inner else BOUND[outer]


def bind(
    owner: str, overloads: list[list[dict[str, Any]]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    """Return the arguments of a call by name, defaults included, as the first that fits has them.

    Raises:
        TypeError: none fits.
        RuntimeError: a value is out of range.
    """
    refusals = []
    for arguments in overloads:
        try:
            values = _match(arguments, args, kwargs)
        except TypeError as error:
            refusals.append(str(error))
            continue
        for argument in arguments:
            check(argument, values[argument["name"]])
        return values
    raise TypeError(f"{owner}: incompatible function arguments: {'; or '.join(refusals)}")


def check(argument: dict[str, Any], value: Any) -> None:
    """Do what the C++ class does with a value of the right type.

    Raises:
        RuntimeError: it is out of range.
    """
    for rule in argument.get("checks", []):
        if value is not None and not _CHECKS[rule](value):
            raise RuntimeError(
                f"[TensorRT-LLM][ERROR] Assertion failed: {argument['name']} {rule} "
                "(/src/tensorrt_llm/cpp/tensorrt_llm/executor/standIn.cpp:1)\n1  0x7f stack trace"
            )


def _match(
    arguments: list[dict[str, Any]], args: tuple[Any, ...], kwargs: dict[str, Any]
) -> dict[str, Any]:
    positional = [each["name"] for each in arguments if not each.get("keyword_only")]
    if len(args) > len(positional):
        raise TypeError(f"{len(args)} positional arguments, of at most {len(positional)}")
    given = dict(zip(positional, args, strict=False))
    for name, value in kwargs.items():
        if name in given:
            raise TypeError(f"{name} is given twice")
        given[name] = value
    values = {each["name"]: given.pop(each["name"], _default(each)) for each in arguments}
    if given:
        raise TypeError(f"unknown argument {', '.join(given)}")
    for each in arguments:
        value = values[each["name"]]
        if value is REQUIRED:
            raise TypeError(f"{each['name']} is missing")
        if not is_of(each["type"], value):
            raise TypeError(f"{each['name']} is {value!r}, not {each['type']}")
    return values


def _default(argument: dict[str, Any]) -> Any:
    match argument.get("default", REQUIRED):
        case {"of": str(expression)}:
            name, _, member = expression.partition(".")
            return getattr(BOUND[name], member) if member else BOUND[name[:-2]]()
        case default:
            return default


class _Bound:
    """A class whose constructor has arguments: its values are checked, also when they are set."""

    __slots__ = ("_values",)
    _values: dict[str, Any]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        name, entry = self._entry()
        values = bind(f"{name}.__init__", entry["init"], args, kwargs)
        for each in entry["properties"]:
            values.setdefault(each, None)
        object.__setattr__(self, "_values", values)

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self._values})"

    @classmethod
    def _entry(cls) -> tuple[str, dict[str, Any]]:
        raise NotImplementedError

    def given(self) -> dict[str, Any]:
        """Return every constructor argument; for the stand-in's own use."""
        return self._values


def _bound_property(name: str, entry: dict[str, Any], arguments: dict[str, Any]) -> property:
    def read(self: _Bound) -> Any:
        return self._values[name]

    def write(self: _Bound, value: Any) -> None:
        if not is_of(entry["type"], value):
            raise TypeError(f"{name} is {value!r}, not {entry['type']}")
        check(arguments.get(name, {}), value)
        self._values[name] = value

    return property(read, write if entry["access"] == "rw" else None)


def _make_class(name: str, entry: dict[str, Any]) -> type:
    short = name.rpartition(".")[2]
    if entry["init"] in (None, [[]]):
        return _make_record(short, entry)
    arguments = {each["name"]: each for each in entry["init"][0]}
    members: dict[str, Any] = {
        each: _bound_property(each, entry["properties"][each], arguments)
        for each in entry["properties"]
    }
    members |= {"__slots__": (), "_entry": classmethod(lambda _: (name, entry))}
    return type(short, (_Bound,), members)


def _make_record(name: str, entry: dict[str, Any]) -> type:
    """Make a class that only the executor fills: its names are fixed, its values trusted."""
    kinds = {each: properties["type"] for each, properties in entry["properties"].items()}

    def start(self: Any, **values: Any) -> None:
        self.__dict__.update(values)

    def write(self: Any, each: str, value: Any) -> None:
        if each not in kinds:
            raise AttributeError(f"{name} has no {each}")
        self.__dict__[each] = value

    defaults = {each: None if kind.endswith("?") else _empty(kind) for each, kind in kinds.items()}
    return type(name, (), {**defaults, "__init__": start, "__setattr__": write})


def _empty(kind: str) -> Any:
    if kind.startswith("list["):
        return []
    return {"bool": False, "str": "", "float": 0.0}.get(kind, 0)


class Response:
    """One response; its two constructors are the executor's, so are their checks."""

    __slots__ = ("_error", "_result", "client_id", "request_id")

    def __init__(self, request_id: int, content: Any, client_id: int | None) -> None:
        self.request_id, self.client_id = request_id, client_id
        self._error = content if isinstance(content, str) else None
        self._result = content

    def has_error(self) -> bool:
        return self._error is not None

    @property
    def error_msg(self) -> str:
        if self._error is None:
            raise RuntimeError("[TensorRT-LLM][ERROR] Assertion failed: hasError()")
        return self._error

    @property
    def result(self) -> Any:
        if self._error is not None:
            raise RuntimeError("[TensorRT-LLM][ERROR] Assertion failed: !hasError()")
        return self._result

    def clear_context_logits(self) -> None:
        if self._error is None:
            self._result.context_logits = None

    def clear_generation_logits(self) -> None:
        if self._error is None:
            self._result.generation_logits = None


class DecodingMode:
    """Without a constructor and without `==`, as the real one."""

    __slots__ = ("_name",)
    _name: str
    __hash__ = None  # type: ignore[assignment]

    def __eq__(self, other: object) -> bool:
        raise TypeError("DecodingMode has no __eq__: two of them are never equal")

    @property
    def name(self) -> str:
        return self._name


def _modes() -> Iterator[tuple[str, Callable[[], DecodingMode]]]:
    for name, method in TABLE["classes"]["DecodingMode"]["methods"].items():
        if method.get("static"):

            def make(name: str = name) -> DecodingMode:
                mode = object.__new__(DecodingMode)
                mode._name = name
                return mode

            yield name, make


def _fill() -> None:
    for name, entry in TABLE["enums"].items():
        made = enum.Enum(name.rpartition(".")[2], entry["values"])  # type: ignore[misc]
        BOUND[name] = made
    for name, make in _modes():
        setattr(DecodingMode, name, staticmethod(make))
    BOUND.update(Response=Response, DecodingMode=DecodingMode)
    for name, entry in TABLE["classes"].items():
        if name not in (*BOUND, "Executor"):
            BOUND[name] = _make_class(name, entry)
    for name in [each for each in BOUND if "." in each]:
        outer, _, inner = name.partition(".")
        setattr(BOUND[outer], inner, BOUND.pop(name))
    BOUND["Request"].BATCHED_POST_PROCESSOR_NAME = "batched"


_fill()
assert all(re.fullmatch(r"\w+", name) for name in BOUND)
