"""The Helm chart: valid, as its renders show, and its commands and settings are understood."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any, get_args

import kubernetes_validate
import pytest
import yaml
from helm_python.errors import HelmError

from build_engines.engine_directories import EngineDirectories
from build_engines.options import engine_of, model_of, parse
from catalog import load_catalog
from catalog.schema import GpuName, Quantization
from engine_step.metrics import GAUGES
from launcher.serve import parse_arguments
from scripts.chart import (
    CATALOG,
    CHART,
    EXAMPLES,
    RENDERS,
    ROOT,
    catalog,
    render,
    render_example,
    yaml_documents,
)
from shim.observation.metrics import Metrics
from shim.settings import read_settings
from support.five_models import FIVE

KUBERNETES = "1.33"
CUSTOM = {"HTTPRoute", "InferencePool", "PrometheusRule", "ScaledObject", "ServiceMonitor"}
"""Kinds that are not Kubernetes' own."""
MINIMAL: dict[str, Any] = {"models": {"mistral-7b": {}}, "shim": {"apiKeysSecret": "keys"}}

examples = pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)


@cache
def objects(path: Path) -> list[dict[str, Any]]:
    return yaml_documents((RENDERS / path.name).read_text())


def of_kind(path: Path, kind: str) -> list[dict[str, Any]]:
    return [each for each in objects(path) if each["kind"] == kind]


def pod(workload: dict[str, Any]) -> dict[str, Any]:
    spec: dict[str, Any] = workload["spec"]["template"]["spec"]
    return spec


def workloads(path: Path) -> list[dict[str, Any]]:
    return of_kind(path, "Deployment") + of_kind(path, "Job")


def test_there_is_an_example_of_each_model_and_of_all() -> None:
    names = {path.stem for path in EXAMPLES}
    assert FIVE | {"all-five"} <= names
    everything = yaml.safe_load((CHART / "examples" / "all-five.yaml").read_text())
    assert set(everything["models"]) == FIVE


@examples
def test_the_renders_are_up_to_date(example: Path) -> None:
    assert render_example(example) == (RENDERS / example.name).read_text(), (
        "run `python -m scripts.chart`, and look at what has changed"
    )


def test_the_charts_catalog_is_the_catalog() -> None:
    assert CATALOG.read_text() == catalog(), "run `python -m scripts.chart`"


@examples
def test_kubernetes_knows_every_field(example: Path) -> None:
    for each in objects(example):
        if each["kind"] not in CUSTOM:
            kubernetes_validate.validate(each, KUBERNETES, strict=True)


@examples
def test_names_are_unique_and_selectors_select(example: Path) -> None:
    found = objects(example)
    names = [(each["kind"], each["metadata"]["name"]) for each in found]
    assert len(set(names)) == len(names)
    labels = [each["spec"]["template"]["metadata"]["labels"] for each in workloads(example)]
    for service in of_kind(example, "Service"):
        selector = service["spec"]["selector"].items()
        assert any(selector <= each.items() for each in labels), service["metadata"]["name"]


@examples
def test_every_container_is_confined(example: Path) -> None:
    for workload in workloads(example):
        spec = pod(workload)
        assert spec["securityContext"]["runAsNonRoot"] is True
        assert spec["automountServiceAccountToken"] is False
        for container in spec["containers"] + spec.get("initContainers", []):
            security = container["securityContext"]
            assert security["allowPrivilegeEscalation"] is False
            assert security["readOnlyRootFilesystem"] is True
            assert security["capabilities"] == {"drop": ["ALL"]}


@examples
def test_a_pod_has_the_gpus_and_the_time_that_its_model_needs(example: Path) -> None:
    for workload in workloads(example):
        name = workload["metadata"]["labels"].get("aeolus/model")
        if name is None:
            continue
        [container] = pod(workload)["containers"]
        assert container["resources"]["limits"]["nvidia.com/gpu"] == (
            load_catalog()[name].engine.tp_size
        )
        if workload["kind"] == "Deployment":
            probe = container["startupProbe"]
            assert probe["periodSeconds"] * probe["failureThreshold"] >= 1800


@examples
def test_the_commands_are_understood_and_agree_on_the_engine(example: Path) -> None:
    built = {}
    for job in of_kind(example, "Job"):
        [container] = pod(job)["containers"]
        options = parse(container["args"], "aeolus")
        directories = EngineDirectories.of(options.root, model_of(options), engine_of(options))
        built[options.model] = directories
    for deployment in of_kind(example, "Deployment"):
        spec = pod(deployment)
        if "initContainers" not in spec:
            continue
        arguments = parse_arguments(spec["containers"][0]["args"][1:], "aeolus serve")
        directories = built[arguments.model[0]]
        [init] = spec["initContainers"]
        [engine] = [each["value"] for each in init["env"] if each["name"] == "ENGINE"]
        assert engine == str(directories.engine)
        command = ["assemble", *init["args"][2:], "--engine", engine, "--output", "x"]
        assembled = parse(command, "aeolus")
        assert assembled.checkpoint == directories.checkpoint
        assert assembled.model == arguments.model[0]


@examples
def test_the_shim_understands_its_settings(
    example: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    keys = tmp_path / "keys.toml"
    keys.write_text('ann = "sixteen-characters-or-more"\n')
    [deployment] = [
        each
        for each in of_kind(example, "Deployment")
        if each["metadata"]["labels"]["app.kubernetes.io/component"] == "shim"
    ]
    for each in pod(deployment)["containers"][0]["env"]:
        is_keys = each["name"] == "AEOLUS_API_KEYS_FILE"
        monkeypatch.setenv(each["name"], str(keys) if is_keys else each["value"])
    monkeypatch.setenv("AEOLUS_HOST", "0.0.0.0")
    settings = read_settings()
    models = yaml.safe_load(example.read_text())["models"]
    assert set(settings.models) == set(settings.model_addresses) == set(models)
    services = {each["metadata"]["name"] for each in of_kind(example, "Service")}
    for [address] in settings.model_addresses.values():
        assert address.partition(":")[0] in services


@examples
def test_only_the_shim_and_prometheus_reach_triton(example: Path) -> None:
    [policy] = of_kind(example, "NetworkPolicy")
    rules = policy["spec"]["ingress"]
    by_port = {rule["ports"][0]["port"]: rule.get("from") for rule in rules}
    [shim] = by_port["grpc"]
    assert shim["podSelector"]["matchLabels"]["app.kubernetes.io/component"] == "shim"
    assert set(by_port) <= {"grpc", "metrics", "http"}
    assert policy["spec"]["egress"] == []


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"models": {}}, "at '/models'"),
        ({"shims": {"replicas": 2}}, "'shims' not allowed"),
        ({"models": {"gpt-4": {}}}, "gpt-4"),
        ({"models": {"mistral-7b": {"replicas": "two"}}}, "at '/models/mistral-7b/replicas'"),
        ({"models": {"mistral-7b": {"replica": 2}}}, "at '/models/mistral-7b'"),
        ({"models": {"mistral-7b": {"gpu": "T4"}}}, "at '/models/mistral-7b/gpu'"),
        (
            {"models": {"mistral-7b": {"replicas": 2, "autoscaling": {"min": 1, "max": 2}}}},
            "at '/models/mistral-7b'",
        ),
        ({"models": {"mistral-7b": {"gpu": "H100", "quantization": "int4"}}}, "it has A10G none"),
        (
            {"models": {"mistral-7b": {"autoscaling": {"min": 3, "max": 2}}}},
            "models.mistral-7b.autoscaling: max 2 is less than min 3",
        ),
        ({"models": {"llama-2-70b": {}}}, "huggingFace.secretName: llama-2-70b is gated"),
        ({"shim": {"apiKeysSecret": ""}}, "shim.apiKeysSecret: name the secret"),
        ({"shim": {"settings": {"RATE": "1"}}}, "at '/shim/settings'"),
        ({"triton": {"startSeconds": 5}}, "at '/triton/startSeconds'"),
        (
            {"triton": {"rollout": {"maxSurge": 0, "maxUnavailable": 0}}},
            "at '/triton/rollout'",
        ),
        ({"ingress": {"enabled": True}}, "at '/ingress/host'"),
        ({"inferencePool": {"enabled": True}}, "at '/inferencePool/endpointPicker'"),
        ({"registry": "registry.example.org"}, "at '/registry'"),
        ({"storage": {"size": "lots"}}, "at '/storage/size'"),
        ({"monitoring": {"objectives": {"kvCacheFraction": 95}}}, "kvCacheFraction"),
    ],
)
def test_a_wrong_value_is_refused_by_its_path(change: dict[str, Any], reason: str) -> None:
    with pytest.raises(HelmError) as caught:
        render(MINIMAL | change)
    assert reason in str(caught.value)


def test_the_schema_knows_the_catalogs_words() -> None:
    model = json.loads((CHART / "values.schema.json").read_text())["definitions"]["model"]
    assert set(model["properties"]["gpu"]["enum"]) == set(get_args(GpuName))
    assert set(model["properties"]["quantization"]["enum"]) == set(get_args(Quantization))


def alerts() -> list[dict[str, Any]]:
    [rule] = of_kind(CHART / "examples" / "all-five.yaml", "PrometheusRule")
    return [each for group in rule["spec"]["groups"] for each in group["rules"]]


def test_every_alert_has_its_page() -> None:
    operations = (ROOT / "docs" / "operations.md").read_text()
    anchors = {
        line.lstrip("# ").lower().replace(" ", "-")
        for line in operations.splitlines()
        if line.startswith("#")
    }
    for alert in alerts():
        page, _, anchor = alert["annotations"]["runbook_url"].partition("#")
        assert page == "docs/operations.md"
        assert anchor in anchors
        assert alert["alert"] in operations


def test_alerts_and_autoscalers_read_metrics_that_there_are() -> None:
    shim = {sample.name for metric in Metrics().registry.collect() for sample in metric.samples} | {
        metric.name for metric in Metrics().registry.collect()
    }
    engine = {family for family, _, _ in GAUGES}
    for example in EXAMPLES:
        for word in re.findall(r"\b(?:aeolus|nv_trt)_\w+", (RENDERS / example.name).read_text()):
            name = word.removesuffix("_bucket")
            assert name in shim | engine | {"aeolus_requests_in_flight"}, word


def test_what_is_not_enabled_is_not_rendered() -> None:
    kinds = {each["kind"] for text in render(MINIMAL).values() for each in yaml_documents(text)}
    assert kinds == {
        "Deployment",
        "Job",
        "NetworkPolicy",
        "PersistentVolumeClaim",
        "PodDisruptionBudget",
        "Service",
    }
