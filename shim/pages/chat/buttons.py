"""The logo and the round buttons of the page."""

from collections.abc import Callable
from typing import Any

from nicegui import ui

LOGO_PATH = "M3 9h11a3 3 0 1 0-3-3M3 13h15a3 3 0 1 1-3 3M3 17h6a2.5 2.5 0 1 1-2.5 2.5"
LOGO = (
    f'<svg viewBox="0 0 24 24" aria-hidden="true"><path d="{LOGO_PATH}" fill="none" '
    'stroke="currentColor" stroke-width="1.8" stroke-linecap="round"/></svg>'
)


def icon_button(
    icon: str, text: str, action: Callable[[], Any] | None = None, key: str = ""
) -> ui.button:
    """Add a round button; `key` is what keys.js finds it by."""
    button = ui.button(icon=icon, on_click=action).props("flat round dense color=none")
    return button.props(f'aria-label="{text}" title="{text}" data-key="{key}"').classes("icon")
