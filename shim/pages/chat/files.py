"""Export and import of the conversation in the browser."""

from collections.abc import Callable

from nicegui import ui
from nicegui.events import GenericEventArguments

from shim.pages.chat.conversation import Conversation
from shim.pages.chat.session import Session
from shim.pages.chat.transfer import TransferError, restore, to_json, to_markdown

MAX_CHARACTERS = 900_000
"""What one message of the page's WebSocket can hold, escapes included."""
READ_A_FILE = f"""() => {{
  const input = Object.assign(document.createElement('input'), {{type: 'file', accept: '.json'}});
  input.onchange = async () => {{
    const text = await input.files[0].text();
    emit(text.length > {MAX_CHARACTERS} ? '' : text);
  }};
  input.click();
}}"""


class Files:
    """The commands of one page that write and read files."""

    def __init__(self, session: Session, conversation: Conversation):
        self._session = session
        self._conversation = conversation
        self.commands: dict[str, Callable[[], None]] = {
            "Export as JSON": self._export_json,
            "Export as Markdown": self._export_markdown,
        }

    def add_import(self) -> None:
        """Add the menu item that reads a file; the browser opens files for a click only."""
        item = ui.menu_item("Import JSON …").props("role=menuitem")
        item.on("click", self._import, js_handler=READ_A_FILE)

    def _export_json(self) -> None:
        ui.download.content(to_json(self._session), "conversation.json", "application/json")

    def _export_markdown(self) -> None:
        ui.download.content(to_markdown(self._session), "conversation.md", "text/markdown")

    async def _import(self, event: GenericEventArguments) -> None:
        await self._conversation.stop()
        try:
            restore(self._session, str(event.args))
        except TransferError as error:
            ui.notify(f"Not a conversation of this page: {error}", type="negative", multi_line=True)
