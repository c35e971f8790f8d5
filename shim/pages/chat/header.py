"""The bar at the top: model, context meter, and the page's own commands."""

from nicegui import ui

from shim.pages.chat.buttons import LOGO, icon_button
from shim.pages.chat.conversation import Conversation
from shim.pages.chat.dialogs import Dialogs
from shim.pages.chat.engine_panel import EnginePanel
from shim.pages.chat.files import Files
from shim.pages.chat.session import Notice, Session
from shim.pages.chat.settings_panel import SettingsPanel

NEXT_THEME = {None: True, True: False, False: None}
THEMES = {
    None: ("brightness_auto", "Theme: as the system"),
    True: ("dark_mode", "Theme: dark"),
    False: ("light_mode", "Theme: light"),
}


class Header:
    """The bar of one page."""

    def __init__(
        self,
        session: Session,
        conversation: Conversation,
        dialogs: Dialogs,
        files: Files,
        settings: SettingsPanel,
        engine: EnginePanel,
    ):
        self._session = session
        self._dark = ui.dark_mode(session.is_dark)
        with ui.header().classes("top-bar"):
            icon_button("tune", "Settings", settings.drawer.toggle)
            with ui.element("a").props('href="../" aria-label="Aeolus"').classes("brand"):
                ui.html(LOGO, sanitize=False).classes("logo")
                ui.label("Aeolus").classes("brand-name")
            titles = {name: model.title for name, model in session.models.items()}
            self._model = (
                ui.select(titles, value=session.model.name, on_change=self._choose_model)
                .props('dense borderless options-dense aria-label="Model"')
                .classes("model-choice")
            )
            ui.space()
            self._meter = ContextMeter(session)
            icon_button("edit_square", "New conversation", conversation.clear, "new")
            icon_button("insights", "Engine", engine.toggle, "engine").classes("wide-only")
            self._theme = icon_button("", "", self._change_theme).classes("wide-only")
            with icon_button("more_vert", "More"), ui.menu().props("auto-close"):
                for text, action in dialogs.commands.items():
                    ui.menu_item(text, action).props("role=menuitem")
                for text, action in (("Engine", engine.toggle), ("Theme", self._change_theme)):
                    ui.menu_item(text, action).props("role=menuitem").classes("narrow-only")
                ui.separator()
                for text, action in files.commands.items():
                    ui.menu_item(text, action).props("role=menuitem")
                files.add_import()
        self._show_theme()

    def update(self, notice: Notice) -> None:
        """Show what has changed."""
        if notice != "reply":
            self._meter.update()

    def _choose_model(self) -> None:
        self._session.choose_model(self._model.value)

    def _change_theme(self) -> None:
        self._session.is_dark = NEXT_THEME[self._session.is_dark]
        self._show_theme()

    def _show_theme(self) -> None:
        self._dark.value = self._session.is_dark
        icon, text = THEMES[self._session.is_dark]
        self._theme.props(f'icon={icon} aria-label="{text}" title="{text}"')


class ContextMeter:
    """How many tokens of the model's limit the conversation has."""

    def __init__(self, session: Session):
        self._session = session
        with ui.element("div").classes("meter").props('role="meter" aria-label="Context"') as meter:
            self._meter = meter
            with ui.element("div").classes("meter-text"):
                self._text = ui.label().classes("meter-count")
                ui.label("tokens").classes("meter-unit")
            with ui.element("div").classes("meter-track"):
                self._bar = ui.element("div").classes("meter-bar")
        self.update()

    def update(self) -> None:
        """Show the engine's count."""
        used, limit = self._session.tokens, self._session.model.predict.max_length
        self._text.text = f"{used:,} / {limit:,}"
        self._bar.style(f"width: {min(100, 100 * used / limit):.1f}%")
        self._bar.classes(replace=f"meter-bar {'meter-full' if used > 0.9 * limit else ''}")
        self._meter.props(f"aria-valuenow={used} aria-valuemin=0 aria-valuemax={limit}")
