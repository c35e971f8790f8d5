"""docs/configuration.md, made from the settings."""

from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from shim.settings import CONFIG_VARIABLE, PREFIX, Settings

INTRODUCTION = f"""\
# Configuration

Made by `make generate` from `shim/settings.py`; do not edit.

`make serve` and `python -m shim` take each setting from, in this order: their command line, the
environment variable `{PREFIX}<NAME>`, the TOML file that `{CONFIG_VARIABLE}` names, its default.
Names are upper-case in the environment, lower-case in the file. An unknown name is refused. Times
are in seconds.

| setting | default | meaning |
|---|---|---|
"""


def configuration_page() -> str:
    """Return the page in markdown."""
    return INTRODUCTION + "".join(
        f"| `{PREFIX}{name.upper()}` | {_default(field)} | {field.description} |\n"
        for name, field in Settings.model_fields.items()
    )


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is PydanticUndefined or value is None or value in ([], {}):
        return "-"
    if isinstance(value, list):
        return f"`{','.join(value)}`"
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value:g}`" if isinstance(value, float) else f"`{value}`"
