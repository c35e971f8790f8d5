"""The fields of the parameter panel, from the table of generate() parameters and the catalog."""

import json
from dataclasses import dataclass
from typing import Any

from nicegui import ui
from pydantic import TypeAdapter, ValidationError

from catalog import ModelEntry
from shim.pages.chat.endpoints import Endpoint
from shim.pages.chat.session import Session
from shim.parameters.table import Row, generate_map

COMMON = ("temperature", "top_p", "top_k", "do_sample", "repetition_penalty", "seed", "stop")
"""After the limit of new tokens, in this order; the others are below them."""
SLIDERS = {"temperature": 2.0, "top_p": 1.0, "repetition_penalty": 2.0}
"""Where a slider ends; the field beside it takes whatever the table allows."""


@dataclass(frozen=True, slots=True)
class PanelRow:
    """A parameter, and what the model's README says of it."""

    row: Row
    default: Any
    """None where the README leaves it open."""


@dataclass(frozen=True, slots=True)
class PanelRows:
    """The parameters of a panel."""

    common: list[PanelRow]
    others: list[PanelRow]


def panel_rows(model: ModelEntry, endpoint: Endpoint) -> PanelRows:
    """Return the parameters that a model's route takes, with the model's defaults."""
    defaults = model.predict.defaults.model_dump()
    length = model.predict.length_parameter
    defaults[length] = defaults["max_new_tokens"]
    table = generate_map()
    common = [name for name in (length, *COMMON) if name in endpoint.parameters]
    others = [name for name in table if name in endpoint.parameters and name not in common]
    return PanelRows(
        *(
            [PanelRow(table[name], defaults.get(name)) for name in names]
            for names in (common, others)
        )
    )


class ParameterField:
    """One parameter: its name, help and value; what equals the default is not sent."""

    def __init__(self, row: PanelRow, session: Session):
        self._row = row.row
        self._default = row.default
        self._given = session.parameters
        self._adapter: TypeAdapter[Any] = TypeAdapter(row.row.annotation)
        name = row.row.name
        with ui.element("div").classes("parameter") as self._box:
            with ui.element("label").classes("parameter-name").props(f'for="parameter-{name}"'):
                ui.label(name)
                ui.icon("help_outline").classes("help-icon").tooltip(self._help())
            self._build()
            self._problem = ui.label().classes("parameter-problem").props('role="alert"')
        self._show()

    def _help(self) -> str:
        row = self._row
        limits = [
            f"> {row.more_than:g}" if row.more_than is not None else "",
            f"≥ {row.at_least:g}" if row.at_least is not None else "",
            f"≤ {row.at_most:g}" if row.at_most is not None and row.at_most < 2**31 - 1 else "",
        ]
        parts = [row.how, ", ".join(filter(None, limits))]
        if self._default is not None:
            parts.append(f"README: {json.dumps(self._default)}")
        return " ".join(filter(None, parts))

    def _build(self) -> None:
        row = self._row
        value = self._given.get(row.name, self._default)
        if row.type == "boolean":
            field: Any = ui.switch(value=bool(value), on_change=lambda: self._take(field.value))
            field.props("dense")
        elif row.choices or row.type == "early_stopping":
            choices: list[Any] = [*row.choices] or [False, True, "never"]
            field = ui.select(choices, value=value, on_change=lambda: self._take(field.value))
            field.props("outlined dense options-dense clearable")
        elif row.type in ("integer", "number"):
            field = self._build_number(value)
        else:
            text = "" if value is None else json.dumps(value)
            field = ui.input(value=text, on_change=lambda: self._take_json(field.value))
            field.props(f'outlined dense debounce=200 placeholder="{_example(row)}"')
            field.classes("wide")
        # What its label is for: a switch itself, of the others the <input> inside.
        target = "id" if row.type == "boolean" else "for"
        field.props(f'{target}="parameter-{row.name}" aria-label="{row.name}"')

    def _build_number(self, value: Any) -> ui.number:
        row = self._row
        field = ui.number(value=value)
        field.on_value_change(lambda: self._take_number(field.value))
        step = 1 if row.type == "integer" else 0.05
        placeholder = "" if self._default is None else f"{self._default:g}"
        field.props(f'outlined dense step={step} placeholder="{placeholder}"')
        if row.name in SLIDERS:
            low = 0.0 if row.at_least is None else max(row.at_least, 0.0)
            slider = ui.slider(min=round(low, 2), max=SLIDERS[row.name], step=0.05, value=value)
            slider.props(f'dense aria-label="{row.name} slider"').classes("wide")
            slider.on_value_change(lambda: field.set_value(slider.value))
            field.on_value_change(
                lambda: slider.set_value(self._default if field.value is None else field.value)
            )
        return field

    def _take_number(self, value: float | None) -> None:
        is_whole = value is not None and self._row.type == "integer" and float(value).is_integer()
        self._take(int(value) if value is not None and is_whole else value)

    def _take_json(self, text: str) -> None:
        text = (text or "").strip()
        if not text:
            self._take(None)
            return
        try:
            self._take(json.loads(text))
        except ValueError:
            if self._row.type == "strings":
                self._take([text])
            else:
                self._show(f"JSON is needed, such as {_example(self._row)}")

    def _take(self, value: Any) -> None:
        """Keep a value for the next request; one that is wrong is not kept."""
        name = self._row.name
        if value is None or value == self._default:
            self._given.pop(name, None)
            self._show()
            return
        try:
            self._adapter.validate_python(value, strict=True)
        except ValidationError as error:
            self._given.pop(name, None)
            self._show(error.errors()[0]["msg"])
            return
        self._given[name] = value
        self._show()

    def _show(self, problem: str = "") -> None:
        self._problem.text = problem
        self._problem.set_visibility(bool(problem))
        is_changed = self._row.name in self._given
        self._box.classes(
            add="changed" if is_changed else "", remove="" if is_changed else "changed"
        )


def _example(row: Row) -> str:
    return {
        "guided_decoding": "{'type': 'json'}",
        "response_format": "{'type': 'json_object'}",
        "strings": "one text, or a JSON list",
        "token_ids": "[5, 7]",
        "token_lists": "[[5], [7, 8]]",
        "sequence_bias": "[[[5], -2.5]]",
        "logit_bias": "{'5': -2.5}",
    }.get(row.type, "JSON")
