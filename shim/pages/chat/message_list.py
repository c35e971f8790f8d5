"""The conversation as it is shown."""

from nicegui import ui

from catalog import load_catalog
from shim.pages.chat.buttons import LOGO, icon_button
from shim.pages.chat.conversation import Conversation
from shim.pages.chat.dialogs import Dialogs
from shim.pages.chat.markdown import ReplyBlocks, code_to_html
from shim.pages.chat.session import Message, Notice, Session

FINISH_TEXTS = {
    "stopped": "stopped",
    "length": "cut at the limit of new tokens",
    "cancelled": "cancelled",
}
SUGGESTIONS = {
    "conversation": ["What is a zephyr?", "What even is AGI?", "Why does the wind blow?"],
    "message": ["What is a zephyr?", "How do I read a file in Python?"],
    "prompt": ["What is the meaning of life?", "The wind is", "A zephyr is"],
    "code": ["def add(a, b): return a + b"],
}


class MessageList:
    """Every message, and what there is before the first one."""

    def __init__(self, session: Session, conversation: Conversation, dialogs: Dialogs):
        self._session = session
        self._conversation = conversation
        self._dialogs = dialogs
        self._views: dict[int, MessageView] = {}
        with ui.element("main").classes("conversation"):
            self._welcome = ui.element("section").classes("hello")
            self._column = (
                ui.element("div")
                .classes("messages")
                .props('role="log" aria-live="polite" aria-label="Conversation"')
            )
        self.update("conversation")

    def update(self, notice: Notice) -> None:
        """Show what has changed."""
        messages = self._session.messages
        if notice == "reply":
            for message in messages[-1:]:
                self._views[message.number].update()
            return
        self._welcome.set_visibility(not messages)
        if not messages:
            self._greet()
        kept = {message.number for message in messages}
        for number in self._views.keys() - kept:
            self._views.pop(number).root.delete()
        for place, message in enumerate(messages):
            view = self._views.get(message.number)
            if view is None:
                with self._column:
                    view = MessageView(message, self._conversation, self._dialogs)
                self._views[message.number] = view
            view.update(is_last=place == len(messages) - 1)

    def _greet(self) -> None:
        model, endpoint = self._session.model, self._session.endpoint
        self._welcome.clear()
        with self._welcome:
            ui.html(LOGO, sanitize=False).classes("hello-logo")
            ui.label(f"Ask {model.title}").classes("hello-title")
            ui.label(endpoint.hint).classes("hello-hint")
            with ui.element("div").classes("suggestions"):
                for text in SUGGESTIONS[endpoint.takes]:
                    ui.button(text, on_click=lambda text=text: self._conversation.send(text)).props(
                        "flat no-caps color=none"
                    ).classes("suggestion")


class MessageView:
    """One message."""

    def __init__(self, message: Message, conversation: Conversation, dialogs: Dialogs):
        self._message = message
        self._conversation = conversation
        self._dialogs = dialogs
        self._blocks = ReplyBlocks()
        self._shown: list[ui.html] = []
        self.root = ui.element("article").classes(f"message {message.role}")
        with self.root:
            if message.role == "user":
                self._build_question()
            else:
                self._build_reply()

    def update(self, *, is_last: bool = True) -> None:
        """Show the message as it is now."""
        if self._message.role == "user":
            self._edit.set_enabled(not self._conversation.is_running)
        else:
            self._update_reply(is_last)

    def _build_question(self) -> None:
        message = self._message
        with ui.element("div").classes("bubble"):
            if message.is_code:
                ui.html(code_to_html(message.text.rstrip(), message.language))
            else:
                ui.label(message.text).classes("as-written")
        with ui.element("div").classes("actions"):
            self._edit = icon_button(
                "edit",
                "Edit and send again",
                lambda: self._dialogs.edit(message),
                "edit",
            )

    def _build_reply(self) -> None:
        message = self._message
        model = load_catalog().get(message.model)
        with ui.element("div").classes("reply-head"):
            ui.html(LOGO, sanitize=False).classes("reply-logo")
            ui.label(model.title if model else message.model)
        self._left_out = ui.label().classes("left-out")
        self._body = ui.element("div").classes("reply-body")
        with self._body:
            self._tail = ui.html().classes("tail")
        self._problem = ui.element("div").classes("problem").props('role="alert"')
        with ui.element("div").classes("actions") as self._actions:
            self._facts = ui.label().classes("facts")
            icon_button("content_copy", "Copy the reply", self._copy)
            self._regenerate = icon_button(
                "refresh", "Regenerate", self._conversation.regenerate, "regenerate"
            )

    def _update_reply(self, is_last: bool) -> None:
        message = self._message
        done, tail = self._blocks.update(message.text)
        for html in done[len(self._shown) :]:
            with self._body:
                block = ui.html(html)
            block.move(self._body, len(self._shown))
            self._shown.append(block)
        if self._tail.content != tail:
            self._tail.content = tail
        self._body.classes(
            add="is-running" if message.is_running else "",
            remove="" if message.is_running else "is-running",
        )
        self._left_out.set_visibility(message.left_out > 0)
        self._left_out.text = f"The first {message.left_out} messages no longer fit; not sent."
        self._actions.set_visibility(not message.is_running)
        self._regenerate.set_visibility(is_last)
        self._facts.text = " · ".join(_facts(message))
        self._show_problem()

    def _show_problem(self) -> None:
        problem = self._message.problem
        self._problem.set_visibility(problem is not None)
        self._problem.clear()
        if problem is None:
            return
        with self._problem:
            ui.icon("error_outline")
            with ui.element("div"):
                ui.label(problem.title).classes("problem-title")
                ui.label(problem.text).classes("problem-text")
            if problem.status == 401:
                button = ui.button("Enter a key", on_click=self._dialogs.ask_for_key)
            else:
                button = ui.button("Try again", on_click=self._conversation.regenerate)
            button.props("flat dense no-caps color=none").classes("problem-action")

    def _copy(self) -> None:
        ui.clipboard.write(self._message.text)
        ui.notify("Copied", position="bottom", timeout=1200)


def _facts(message: Message) -> list[str]:
    """Return what is known of how a reply came about."""
    facts = []
    if message.finish_reason in FINISH_TEXTS:
        facts.append(FINISH_TEXTS[message.finish_reason])
    if message.completion_tokens is not None:
        facts.append(f"{message.completion_tokens:,} tokens")
        if message.seconds:
            facts.append(f"{message.completion_tokens / message.seconds:,.0f} tokens/s")
    if message.first_text_seconds is not None:
        facts.append(f"first text after {message.first_text_seconds:.2f} s")
    return facts
