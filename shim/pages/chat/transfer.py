"""A conversation as a file: JSON, which can be read again, and Markdown, for people."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from catalog import field_problems
from shim.pages.chat.session import Message, Role, Session

MAX_MESSAGES = 1000


class TransferError(ValueError):
    """A file holds no conversation; the text says why."""


class _Part(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True)


class SavedMessage(_Part):
    """One message, as chat templates know it, and how a reply came about."""

    role: Role
    content: str
    model: str = ""
    is_code: bool = False
    language: str = ""
    finish_reason: str | None = None
    prompt_tokens: int | None = None
    completion_tokens: int | None = None

    @classmethod
    def of(cls, message: Message) -> "SavedMessage":
        """Return what is kept of a message."""
        fields = {name: getattr(message, name) for name in cls.model_fields if name != "content"}
        return cls(content=message.text, **fields)

    def restored(self) -> Message:
        """Return the message of a session."""
        return Message(text=self.content, **self.model_dump(exclude={"content"}))


class SavedConversation(_Part):
    """What a file holds; no API key."""

    format: Literal["aeolus-conversation-1"] = "aeolus-conversation-1"
    model: str
    route: str
    system_message: str = ""
    parameters: dict[str, Any] = {}
    messages: Annotated[list[SavedMessage], Field(max_length=MAX_MESSAGES)]


def to_json(session: Session) -> str:
    """Return the conversation and its choices."""
    return SavedConversation(
        model=session.model.name,
        route=session.endpoint.path,
        system_message=session.system_message,
        parameters=session.parameters,
        messages=[SavedMessage.of(message) for message in session.messages],
    ).model_dump_json(indent=2)


def to_markdown(session: Session) -> str:
    """Return the conversation under a heading a message."""
    parts = [f"# Conversation with {session.model.title}\n"]
    if session.system_message.strip():
        parts.append(f"## System\n\n{session.system_message.strip()}\n")
    for message in session.messages:
        title = "User" if message.role == "user" else message.model or "Assistant"
        text = message.text.strip()
        if message.is_code:
            text = f"```{message.language}\n{text}\n```"
        parts.append(f"## {title}\n\n{text}\n")
    return "\n".join(parts)


def restore(session: Session, content: str) -> None:
    """Continue the conversation of a JSON file.

    Model and route stay as they are where those of the file are not served here.

    Raises:
        TransferError: it is not such a file.
    """
    try:
        saved = SavedConversation.model_validate_json(content)
    except ValidationError as error:
        raise TransferError(field_problems(error)[:300]) from error
    session.messages[:] = [message.restored() for message in saved.messages]
    session.system_message = saved.system_message
    if saved.model in session.models:
        session.choose_model(saved.model)
        if saved.route in session.endpoints:
            session.choose_endpoint(saved.route)
        session.parameters.clear()
        session.parameters.update(_known(session, saved.parameters))
    session.tell("choices")
    session.tell("conversation")


def _known(session: Session, parameters: dict[str, Any]) -> dict[str, Any]:
    """Return those that the route takes; the service checks their values."""
    taken = session.endpoint.parameters
    return {name: value for name, value in parameters.items() if name in taken}
