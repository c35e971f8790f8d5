"""What the page asks and shows beside the conversation."""

import json
import shlex
from collections.abc import Callable

from nicegui import ui

from shim.pages.chat.conversation import Conversation
from shim.pages.chat.session import Message, Session

SHORTCUTS = {
    "Enter": "send",
    "Shift Enter": "new line",
    "Esc": "stop the reply",
    "/": "to the message field",
    "Arrow up": "in the empty field: edit the last message",
    "Alt N": "new conversation",
    "Alt R": "regenerate the reply",
}


class Dialogs:
    """The dialogs of one page."""

    def __init__(self, session: Session, conversation: Conversation):
        self._session = session
        self._conversation = conversation
        self.commands: dict[str, Callable[[], None]] = {
            "API key …": self.ask_for_key,
            "Show the request": self.show_request,
            "Keyboard": self.show_shortcuts,
        }

    def ask_for_key(self) -> None:
        """Ask for the API key of this session."""
        with ui.dialog() as dialog, ui.card().classes("dialog"):
            ui.label("API key").classes("dialog-title")
            ui.label(
                "Sent with the requests of this tab, kept in memory only, forgotten with the tab."
            ).classes("help")
            field = ui.input(value=self._session.api_key, password=True).props(
                'outlined dense autofocus autocomplete=off aria-label="API key"'
            )

            def keep() -> None:
                self._session.api_key = (field.value or "").strip()
                dialog.close()
                last = self._session.messages[-1:]
                if last and last[0].problem is not None and last[0].problem.status == 401:
                    self._conversation.regenerate()

            field.on("keydown.enter", keep)
            _buttons(dialog, "Use", keep)
        dialog.open()

    def edit(self, message: Message) -> None:
        """Have an earlier message changed and sent again."""
        with ui.dialog() as dialog, ui.card().classes("dialog wide-dialog"):
            ui.label("Edit and send again").classes("dialog-title")
            field = ui.textarea(value=message.text).props(
                'outlined autogrow autofocus aria-label="Edited message"'
            )

            def send() -> None:
                dialog.close()
                self._conversation.edit(message, field.value or "")

            _buttons(dialog, "Send", send)
        dialog.open()

    def show_request(self) -> None:
        """Show what the next message is sent as."""
        session = self._session
        turns = [*session.question().turns]
        if not turns or turns[-1]["role"] == "assistant":
            turns.append({"role": "user", "content": "..."})
        if session.endpoint.takes != "conversation":
            turns = turns[-1:]
        question = session.question()
        body = session.endpoint.body(
            type(question)(
                turns,
                question.system_message,
                question.parameters,
                question.language,
                question.include_comments,
            )
        )
        text = json.dumps(body, indent=2, ensure_ascii=False)
        with ui.dialog() as dialog, ui.card().classes("dialog wide-dialog"):
            ui.label(f"POST {session.endpoint.path}").classes("dialog-title path")
            ui.label(text).classes("as-written request-body")
            with ui.element("div").classes("dialog-buttons"):
                ui.button("Close", on_click=dialog.close).props("flat no-caps color=none")
                ui.button("Copy as curl", on_click=lambda: self._copy_curl(text)).props(
                    "unelevated no-caps"
                )
        dialog.open()

    async def _copy_curl(self, body: str) -> None:
        origin = await ui.run_javascript("window.location.origin")
        key = " -H 'Authorization: Bearer YOUR_API_KEY'" if self._session.api_key else ""
        ui.clipboard.write(
            f"curl -N -X POST {origin}{self._session.endpoint.path}{key} "
            f"-H 'Content-Type: application/json' -d {shlex.quote(body)}"
        )
        ui.notify("Copied", position="bottom", timeout=1200)

    def show_shortcuts(self) -> None:
        """Show which keys do what."""
        with ui.dialog() as dialog, ui.card().classes("dialog"):
            ui.label("Keyboard").classes("dialog-title")
            with ui.element("div").classes("shortcuts"):
                for key, text in SHORTCUTS.items():
                    ui.label(key).classes("key")
                    ui.label(text)
            with ui.element("div").classes("dialog-buttons"):
                ui.button("Close", on_click=dialog.close).props("flat no-caps color=none")
        dialog.open()


def _buttons(dialog: ui.dialog, text: str, action: Callable[[], None]) -> None:
    with ui.element("div").classes("dialog-buttons"):
        ui.button("Cancel", on_click=dialog.close).props("flat no-caps color=none")
        ui.button(text, on_click=action).props("unelevated no-caps")
