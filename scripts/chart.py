"""Write what of the Helm chart is derived: its catalog, and the renders of its examples.

The renders are what a release of each example applies; a test holds them, so that a change of a
template shows what it changes.
"""

import math
from pathlib import Path
from typing import Any

import yaml
from helm_python import Chart

from build_engines.engine_directories import EngineDirectories
from build_engines.plan.capacity import make_plan
from build_engines.plan.gpus import GIB
from catalog import EnginePlan, ModelEntry, load_catalog

ROOT = Path(__file__).parents[1]
CHART = ROOT / "docker" / "helm"
CATALOG = CHART / "catalog.yaml"
EXAMPLES = sorted((CHART / "examples").glob("*.yaml"))
RENDERS = ROOT / "tests" / "docker" / "renders"
SERVING_GIB = 8
"""Of host memory beside the engine's file: Triton, its stubs, pinned buffers."""
RELEASE = "llm"
VOLUME = Path("/models")


def catalog() -> str:
    """Return the chart's catalog: the plans of each model, and what a pod must ask for."""
    models = {
        name: {
            "gated": model.gated,
            "checkpoint": _path(EngineDirectories.of(VOLUME, model, model.engine).checkpoint),
            "plans": [_plan(model, plan) for plan in model.engine_plans],
        }
        for name, model in load_catalog().items()
    }
    head = "# Written by `python -m scripts.chart` from catalog/*.toml; do not edit.\n"
    listing: str = yaml.safe_dump(models, sort_keys=False)
    return head + listing


def _plan(model: ModelEntry, plan: EnginePlan) -> dict[str, Any]:
    needs = make_plan(model, plan)
    return {
        "engine": _path(EngineDirectories.of(VOLUME, model, plan).engine),
        "gpu": plan.gpu,
        "quantization": plan.quantization,
        "tensorParallelSize": plan.tp_size,
        "maxBatchSize": plan.max_batch_size,
        "memory": f"{math.ceil(needs.engine_bytes / GIB) + SERVING_GIB}Gi",
        "buildMemory": f"{math.ceil(plan.tp_size * needs.host_bytes_per_worker / GIB)}Gi",
    }


def _path(directory: Path) -> str:
    return str(directory.relative_to(VOLUME))


def render(values: dict[str, Any]) -> dict[str, str]:
    """Return the manifests of a release, by template; templates without any are left out.

    Raises:
        HelmValuesError: a value is refused by the schema.
        HelmRenderError: a template refuses the values.
    """
    with Chart.load(CHART) as chart:
        manifests = chart.render(values, name=RELEASE, namespace="default")
    return {
        Path(name).name: text
        for name, text in sorted(manifests.items())
        if not Path(name).name.startswith("_") and yaml_documents(text)
    }


def yaml_documents(text: str) -> list[dict[str, Any]]:
    """Return the objects of a manifest."""
    return [each for each in yaml.load_all(text, yaml.CSafeLoader) if each]


def render_example(path: Path) -> str:
    """Return the manifests of an example's release as one file."""
    manifests = render(yaml.safe_load(path.read_text()))
    return "".join(
        f"# {name}\n---\n{text.strip().removeprefix('---').strip()}\n"
        for name, text in manifests.items()
    )


def main() -> None:
    """Write all of it."""
    CATALOG.write_text(catalog())
    for path in EXAMPLES:
        (RENDERS / path.name).write_text(render_example(path))


if __name__ == "__main__":
    main()
