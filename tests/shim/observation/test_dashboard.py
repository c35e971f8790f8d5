import json
import re
from pathlib import Path

from shim.observation.metrics import Metrics

DASHBOARD = Path(__file__).parents[3] / "docker" / "grafana" / "aeolus.json"


def test_the_dashboard_asks_for_metrics_that_there_are_and_leaves_none_out() -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = {
        name
        for panel in panels
        for target in panel["targets"]
        for name in re.findall(r"aeolus_\w+", target["expr"])
    }
    families = list(Metrics().registry.collect())
    suffix = {"counter": "_total", "histogram": "_bucket", "gauge": ""}
    assert asked == {family.name + suffix[family.type] for family in families}
