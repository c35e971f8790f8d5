"""The panel at the left: route, system message, and the parameters of the chosen model."""

from nicegui import ui

from shim.pages.chat.dialogs import Dialogs
from shim.pages.chat.parameter_fields import ParameterField, panel_rows
from shim.pages.chat.session import Notice, Session


class SettingsPanel:
    """The panel of one page."""

    def __init__(self, session: Session, dialogs: Dialogs):
        self._session = session
        self._dialogs = dialogs
        self.drawer = ui.left_drawer(bordered=True, bottom_corner=True).props(
            "width=320 breakpoint=1100"
        )
        self.drawer.classes("panel").props('aria-label="Settings"')
        self.update("choices")

    def update(self, notice: Notice) -> None:
        """Show the choices of another model or route."""
        if notice == "choices":
            self.drawer.clear()
            with self.drawer:
                self._build()

    def _build(self) -> None:
        session = self._session
        endpoint = session.endpoint
        titles = {path: each.title for path, each in session.endpoints.items()}
        ui.label("Route").classes("panel-title")
        route = ui.select(titles, value=endpoint.path).props(
            'outlined dense options-dense aria-label="Route"'
        )
        route.on_value_change(lambda: session.choose_endpoint(route.value))
        ui.label(f"POST {endpoint.path}").classes("path")
        ui.label(endpoint.hint).classes("help")
        if endpoint.has_system_message:
            self._build_system_message()
        rows = panel_rows(session.model, endpoint)
        if rows.common:
            with ui.element("div").classes("panel-title with-action"):
                ui.label("Parameters")
                ui.button("Reset", on_click=self._reset).props(
                    "flat dense no-caps color=none"
                ).classes("small-action")
            for row in rows.common:
                ParameterField(row, session)
        if rows.others:
            with ui.expansion("More parameters").props("dense").classes("more-parameters"):
                for row in rows.others:
                    ParameterField(row, session)
        ui.button("Show the request", icon="code", on_click=self._dialogs.show_request).props(
            "flat no-caps color=none"
        ).classes("show-request")

    def _build_system_message(self) -> None:
        session = self._session
        default = session.model.zephyr.system_message if session.model.zephyr else ""
        is_zephyr = session.endpoint.path.startswith("/zephyr/")
        ui.label("System message").classes("panel-title")
        field = ui.textarea(value=session.system_message).props(
            'outlined dense autogrow aria-label="System message"'
        )
        field.props["placeholder"] = default if is_zephyr else "None"

        def keep() -> None:
            session.system_message = field.value or ""

        field.on_value_change(keep)

    def _reset(self) -> None:
        self._session.parameters.clear()
        self.update("choices")
