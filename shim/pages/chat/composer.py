"""Where a message, or the code to document, is written."""

from nicegui import ui
from nicegui.elements.codemirror.constants import SUPPORTED_LANGUAGES

from shim.pages.chat.conversation import Conversation
from shim.pages.chat.session import Notice, Session

LANGUAGES: dict[str, SUPPORTED_LANGUAGES] = {
    "python": "Python",
    "javascript": "JavaScript",
    "typescript": "TypeScript",
    "java": "Java",
    "c++": "C++",
    "c": "C",
    "c#": "C#",
    "go": "Go",
    "rust": "Rust",
    "sql": "SQL",
    "bash": "Shell",
}
PLACEHOLDERS = {
    "conversation": "Message {model}",
    "message": "Message {model}",
    "prompt": "A text for {model} to continue",
    "code": "",
}
ENTER_SENDS = """(event) => {
  if (event.key === 'Enter' && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    emit();
  }
}"""


class Composer:
    """The field at the bottom, and the button that sends or stops."""

    def __init__(self, session: Session, conversation: Conversation):
        self._session = session
        self._conversation = conversation
        self._takes = ""
        self._field: ui.textarea | ui.codemirror
        with ui.footer().classes("bottom-bar"), ui.element("div").classes("composer") as box:
            self._box = box
        self.update("choices")

    def update(self, notice: Notice) -> None:
        """Show what has changed."""
        takes = self._session.endpoint.takes
        if notice == "choices":
            # A field that can stay does, with what is being written in it.
            needs_other_field = "code" in (takes, self._takes) or not self._takes
            is_other = takes != self._takes
            self._takes = takes
            if is_other and needs_other_field:
                self._build()
        if notice == "choices" and isinstance(self._field, ui.textarea):
            text = PLACEHOLDERS[takes].format(model=self._session.model.title)
            self._field.props(f'placeholder="{text}" aria-label="Message"')
        is_running = self._conversation.is_running
        self._send.set_visibility(not is_running)
        self._stop.set_visibility(is_running)

    def _build(self) -> None:
        self._box.clear()
        with self._box:
            if self._takes == "code":
                self._build_editor()
            else:
                self._field = (
                    ui.textarea()
                    .props("autogrow borderless dense autofocus")
                    .classes("message-field")
                )
                self._field.on("keydown", self._say, js_handler=ENTER_SENDS)
            self._field.value = self._session.draft
            self._field.on_value_change(self._keep_draft)
            self._send = ui.button(icon="arrow_upward", on_click=self._say).props(
                'round unelevated aria-label="Send" title="Send (Enter)" data-key="send"'
            )
            self._stop = ui.button(icon="stop", on_click=self._conversation.stop).props(
                'round unelevated aria-label="Stop" title="Stop (Esc)" data-key="stop"'
            )

    def _build_editor(self) -> None:
        session = self._session
        with ui.element("div").classes("code-side"):
            with ui.element("div").classes("code-options"):
                language = ui.select(list(LANGUAGES), value=session.language).props(
                    'dense outlined options-dense aria-label="Language"'
                )
                comments = ui.checkbox("Comments", value=session.include_comments).props("dense")
            self._field = ui.codemirror(
                language=LANGUAGES[session.language], line_wrapping=True
            ).classes("code-field")

        def choose() -> None:
            session.language = language.value
            session.include_comments = comments.value
            if isinstance(self._field, ui.codemirror):
                self._field.language = LANGUAGES[language.value]

        language.on_value_change(choose)
        comments.on_value_change(choose)
        is_choice = session.endpoint.name == "code-doc"
        language.set_visibility(is_choice)
        comments.set_visibility(is_choice)

    def _say(self) -> None:
        text = self._field.value or ""
        if text.strip() and not self._conversation.is_running:
            if self._takes != "code":  # which may be sent again, with other parameters
                self._field.value = ""
            self._conversation.send(text)

    def _keep_draft(self) -> None:
        self._session.draft = self._field.value or ""
