"""No call of ours is outside the table of the bindings, read from our sources themselves."""

import ast
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import executor_engine
from executor_engine.requests import SAMPLING_ARGUMENTS
from executor_engine.settings import (
    ARGUMENTS,
    DECODING_MODES,
    PERFORMANCE_PROPERTIES,
    SCHEDULER_POLICIES,
)
from support.rehearsal import STAND_INS

TABLE: dict[str, Any] = json.loads((STAND_INS / "executor_bindings.json").read_text())
CLASSES: dict[str, Any] = TABLE["classes"]
SOURCES = sorted(Path(executor_engine.__file__).parent.glob("*.py"))


def arguments_of(name: str) -> set[str]:
    return {argument["name"] for init in CLASSES[name]["init"] for argument in init}


def is_bindings(node: ast.expr) -> bool:
    """Whether it is `bindings` or `self._bindings`."""
    return (isinstance(node, ast.Name) and node.id == "bindings") or (
        isinstance(node, ast.Attribute) and node.attr == "_bindings"
    )


def nodes(kind: type[ast.AST]) -> Iterator[Any]:
    for source in SOURCES:
        for node in ast.walk(ast.parse(source.read_text())):
            if isinstance(node, kind):
                yield node


def test_every_name_that_is_taken_from_the_bindings_is_in_the_table() -> None:
    taken = {each.attr for each in nodes(ast.Attribute) if is_bindings(each.value)}
    assert {"Executor", "ExecutorConfig", "Request", "SamplingConfig", "OutputConfig"} <= taken
    assert taken <= {name.partition(".")[0] for name in (*CLASSES, *TABLE["enums"])}


def test_every_constructor_gets_only_keywords_of_the_table() -> None:
    for call in nodes(ast.Call):
        if isinstance(call.func, ast.Attribute) and is_bindings(call.func.value):
            name = call.func.attr
            assert not call.args, f"{name}: positional arguments"
            keywords = {each.arg for each in call.keywords if each.arg is not None}
            assert keywords <= arguments_of(name), name


def test_every_method_of_the_executor_that_we_call_is_in_the_table() -> None:
    called = {
        call.func.attr
        for call in nodes(ast.Call)
        if isinstance(call.func, ast.Attribute)
        and isinstance(call.func.value, ast.Name | ast.Attribute)
        and getattr(call.func.value, "attr", getattr(call.func.value, "id", ""))
        in ("_executor", "executor")
    }
    assert {"enqueue_request", "await_responses", "cancel_request"} <= called
    assert called <= set(CLASSES["Executor"]["methods"])


def test_the_tables_of_our_own_name_arguments_that_exist() -> None:
    for part, settings in ARGUMENTS.items():
        assert {each.argument for each in settings.values()} <= arguments_of(part), part
    knobs = CLASSES["ExtendedRuntimePerfKnobConfig"]["properties"]
    assert {each.argument for each in PERFORMANCE_PROPERTIES.values()} <= set(knobs)
    assert set(SAMPLING_ARGUMENTS.values()) <= arguments_of("SamplingConfig")
    policies = TABLE["enums"]["CapacitySchedulerPolicy"]["values"]
    assert set(SCHEDULER_POLICIES.values()) <= set(policies)
    assert set(DECODING_MODES.values()) <= set(CLASSES["DecodingMode"]["methods"])


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_nothing_of_the_stand_in_is_imported(source: Path) -> None:
    assert "standing_in" not in source.read_text()
