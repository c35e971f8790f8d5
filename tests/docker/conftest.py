"""Tests that render the Helm chart run where `aeolus[chart]` is installed, as `make test` does."""

from importlib.util import find_spec

HAS_CHART_TOOLS = bool(find_spec("helm_python") and find_spec("kubernetes_validate"))
collect_ignore = (
    [] if HAS_CHART_TOOLS else ["test_chart.py", "test_custom_kinds.py", "test_operations.py"]
)


def pytest_report_header() -> list[str]:
    """Say so where they are left out."""
    return [] if HAS_CHART_TOOLS else ["aeolus[chart] is not installed: tests of it are left out"]
