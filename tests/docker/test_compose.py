"""compose.yaml: valid, and what it mounts and names is there."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

DOCKER = Path(__file__).parents[2] / "docker"
COMPOSE = DOCKER / "compose.yaml"


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    content = yaml.safe_load(COMPOSE.read_text())
    services: dict[str, Any] = content["services"]
    return services


def check(path: Path) -> subprocess.CompletedProcess[str]:
    command = ["check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(path)]
    return subprocess.run([sys.executable, "-m", *command], capture_output=True, text=True)


def test_it_follows_the_compose_specification(tmp_path: Path) -> None:
    run = check(COMPOSE)
    assert run.returncode == 0, run.stdout
    wrong = tmp_path / "compose.yaml"
    wrong.write_text(COMPOSE.read_text().replace("read_only: true", "read_onyl: true"))
    assert "read_onyl" in check(wrong).stdout


def test_every_service_belongs_to_a_profile(services: dict[str, Any]) -> None:
    assert {name: each["profiles"] for name, each in services.items()} == {
        "cpu": ["cpu"],
        "gpu": ["gpu"],
        "build": ["build"],
        "prometheus": ["observability"],
        "grafana": ["observability"],
    }


def test_files_that_are_mounted_or_built_from_exist(services: dict[str, Any]) -> None:
    for each in services.values():
        for volume in each.get("volumes", []):
            source = volume.partition(":")[0]
            assert not source.startswith(".") or (DOCKER / source).exists(), source
        if "build" in each:
            assert (DOCKER / each["build"]["context"] / each["build"]["dockerfile"]).is_file()


@pytest.mark.parametrize("name", ["cpu", "gpu", "build"])
def test_our_containers_have_no_privileges(services: dict[str, Any], name: str) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]


def test_grafana_finds_our_dashboard_and_prometheus_our_metrics(services: dict[str, Any]) -> None:
    provisioning = DOCKER / "grafana" / "provisioning"
    provider = yaml.safe_load((provisioning / "dashboards" / "aeolus.yaml").read_text())
    [target] = [
        volume.split(":")[1]
        for volume in services["grafana"]["volumes"]
        if volume.startswith("./grafana/aeolus.json")
    ]
    assert target == f"{provider['providers'][0]['options']['path']}/aeolus.json"
    assert json.loads((DOCKER / "grafana" / "aeolus.json").read_text())["panels"]
    [source] = yaml.safe_load((provisioning / "datasources" / "prometheus.yaml").read_text())[
        "datasources"
    ]
    assert source["url"] == "http://prometheus:9090"
    prometheus = yaml.safe_load((DOCKER / "prometheus" / "prometheus.yml").read_text())
    targets = [
        target
        for job in prometheus["scrape_configs"]
        for static in job["static_configs"]
        for target in static["targets"]
    ]
    assert targets == ["aeolus:8000", "aeolus:8002"]
    for name in ("cpu", "gpu"):
        assert services[name]["networks"]["default"]["aliases"] == ["aeolus"]
