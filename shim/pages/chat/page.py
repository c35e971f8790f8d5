"""The page itself: what is where, and what a tab shows of its session."""

from dataclasses import dataclass
from pathlib import Path

from fastapi import Request
from nicegui import app, ui

from shim.pages.chat.composer import Composer
from shim.pages.chat.conversation import Conversation
from shim.pages.chat.dialogs import Dialogs
from shim.pages.chat.engine_panel import EnginePanel
from shim.pages.chat.files import Files
from shim.pages.chat.header import Header
from shim.pages.chat.message_list import MessageList
from shim.pages.chat.service import Address, Service
from shim.pages.chat.session import Notice, Session
from shim.pages.chat.settings_panel import SettingsPanel
from shim.settings import Settings

FOLDER = Path(__file__).parent
TAB = "tab"
HEAD = (
    '<meta http-equiv="x-dns-prefetch-control" content="off">'
    f"<style>{(FOLDER / 'style.css').read_text(encoding='utf-8')}</style>"
    f"<script>{(FOLDER / 'keys.js').read_text(encoding='utf-8')}</script>"
)


@dataclass(frozen=True, slots=True)
class Tab:
    """What stays when a tab is loaded again."""

    session: Session
    conversation: Conversation


@ui.page("/", title="Aeolus chat")
async def chat_page(request: Request) -> None:
    """Build the page once its browser has connected, so that a bare GET costs little."""
    settings: Settings = request.state.settings
    service = Service(Address.of(settings, request.scope["server"]))
    ui.add_head_html(HEAD)
    await ui.context.client.connected()
    tab = app.storage.tab.get(TAB)
    if tab is None:
        session = Session([settings.answers_by_default, *settings.models])
        tab = app.storage.tab[TAB] = Tab(session, Conversation(session, service))
    page = ChatPage(tab, EnginePanel(tab.session, service, settings.triton_metrics_addresses))
    if settings.all_api_keys() and not tab.session.api_key:
        page.dialogs.ask_for_key()


class ChatPage:
    """The widgets of one browser tab."""

    def __init__(self, tab: Tab, engine: EnginePanel):
        self._session = session = tab.session
        self._conversation = conversation = tab.conversation
        self._client = ui.context.client
        self.dialogs = dialogs = Dialogs(session, conversation)
        self._settings = SettingsPanel(session, dialogs)
        self._engine = engine
        self._header = Header(
            session, conversation, dialogs, Files(session, conversation), self._settings, engine
        )
        self._messages = MessageList(session, conversation, dialogs)
        self._composer = Composer(session, conversation)
        self._stop_listening = session.listen(self._update)
        self._client.on_delete(self._leave)

    def _update(self, notice: Notice) -> None:
        with self._client:
            self._messages.update(notice)
            self._composer.update(notice)
            self._header.update(notice)
            self._settings.update(notice)

    async def _leave(self) -> None:
        """Cancel a generation that no page shows any more."""
        self._stop_listening()
        self._engine.close()
        if not self._session.is_watched:
            await self._conversation.stop()
