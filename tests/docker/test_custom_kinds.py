"""The chart's objects of kinds that are not Kubernetes' own have the shape of their definitions."""

from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from scripts.chart import EXAMPLES, RENDERS, render, yaml_documents

SHAPES: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parent / "custom_kinds.yaml").read_text(encoding="utf-8")
)
KINDS: dict[str, Any] = SHAPES["kinds"]
TLS = {"models": {"mistral-7b": {}}, "shim": {"apiKeysSecret": "keys", "tlsSecret": "tls"}}


def check(manifest: dict[str, Any]) -> None:
    shape = KINDS[manifest["kind"]]
    assert manifest["apiVersion"] == shape["apiVersion"]
    assert set(manifest) == {"apiVersion", "kind", "metadata", "spec"}
    jsonschema.Draft7Validator(shape["spec"] | {"definitions": SHAPES["definitions"]}).validate(
        manifest["spec"]
    )


def custom(path: Path) -> list[dict[str, Any]]:
    documents = yaml_documents((RENDERS / path.name).read_text(encoding="utf-8"))
    return [each for each in documents if each["kind"] in KINDS]


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_they_have_the_shape_of_their_definitions(example: Path) -> None:
    for manifest in custom(example):
        check(manifest)


def test_each_kind_is_in_some_example() -> None:
    assert {each["kind"] for path in EXAMPLES for each in custom(path)} == set(KINDS)


def test_a_monitor_of_a_shim_with_tls_too() -> None:
    for text in render(TLS | {"monitoring": {"enabled": True}}).values():
        for manifest in yaml_documents(text):
            if manifest["kind"] == "ServiceMonitor":
                check(manifest)


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("HTTPRoute", ["rules", 0, "backendRefs", 0, "prot"], 80),
        ("InferencePool", ["targetPorts", 0, "number"], "8000"),
        ("InferencePool", ["targetPortNumber"], 8000),
        ("PrometheusRule", ["groups", 0, "rules", 0, "for"], "10 minutes"),
        ("ScaledObject", ["triggers", 0, "metadata", "threshold"], 36),
        ("ServiceMonitor", ["endpoints", 0, "intervall"], "10s"),
    ],
)
def test_a_mistake_would_be_found(kind: str, path: list[str | int], value: object) -> None:
    [manifest, *_] = (
        each for example in EXAMPLES for each in custom(example) if each["kind"] == kind
    )
    check(manifest)
    place = manifest["spec"]
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    with pytest.raises(jsonschema.ValidationError):
        check(manifest)
