"""The routes that the page can send a message to, and what each takes and replies."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from catalog import ModelEntry
from shim.families.openai.bodies import NOT_HERE
from shim.families.zephyr.bodies import SAMPLING
from shim.parameters.table import generate_map

Takes = Literal["conversation", "message", "prompt", "code"]
Turn = dict[str, str]
"""`role` and `content`."""

NOT_ON_THE_PANEL = {
    "add_generation_prompt",
    "attention_mask",
    "continue_final_message",
    "generation_config",
    "input_ids",
    "inputs",
    "max_new_tokens",  # both spellings: the model's own one is added
    "max_tokens",
    "num_return_sequences",
    "return_full_text",
    "skip_special_tokens",
    "stop_strings",  # the same as stop
    "stream",
}
"""What the page decides itself, and second names."""


@dataclass(frozen=True, slots=True)
class Piece:
    """A part of a reply; what is None is not known yet."""

    text: str
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    finish_reason: str | None = None


@dataclass(frozen=True, slots=True)
class Question:
    """What the user has chosen and written."""

    turns: Sequence[Turn]
    """The conversation; its last turn is the new message."""
    system_message: str
    parameters: Mapping[str, Any]
    language: str = "python"
    include_comments: bool = True

    @property
    def text(self) -> str:
        """The new message."""
        return self.turns[-1]["content"]


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One route for one model."""

    name: str
    title: str
    hint: str
    path: str
    takes: Takes
    parameters: frozenset[str]
    """Names of generate() parameters that it takes."""
    has_system_message: bool = False
    can_stream: bool = True

    def body(self, question: Question) -> dict[str, Any]:
        """Return the JSON body that asks `question`."""
        raise NotImplementedError

    def read_event(self, event: dict[str, Any]) -> Piece | None:
        """Return what one event of a stream adds."""
        raise NotImplementedError

    def read_reply(self, reply: Any, headers: Mapping[str, str]) -> Piece:
        """Return a whole reply, its counts from body or headers."""
        raise NotImplementedError

    def given(self, question: Question) -> dict[str, Any]:
        """Return those parameters of a question that this route takes."""
        return {
            name: value for name, value in question.parameters.items() if name in self.parameters
        }

    def is_streamed(self, question: Question) -> bool:
        """Whether the reply comes piece by piece; the result of a beam search cannot."""
        return self.can_stream and int(question.parameters.get("num_beams", 1)) == 1


class PredictEndpoint(Endpoint):
    """The predict route of a model."""

    def body(self, question: Question) -> dict[str, Any]:
        """See `Endpoint`; the reply is the answer only."""
        own: dict[str, Any]
        if self.takes == "prompt":
            own = {"prompt": question.text}
        else:
            own = {"messages": _with_system(question)}
        own |= self.given(question)
        if self.is_streamed(question):
            return own | {"stream": True}
        return own | {"stream": False, "return_full_text": False, "skip_special_tokens": True}

    def read_event(self, event: dict[str, Any]) -> Piece:
        """See `Endpoint`."""
        return _piece(event["text"], event.get("usage"), event.get("finish_reason"))

    def read_reply(self, reply: Any, headers: Mapping[str, str]) -> Piece:
        """See `Endpoint`."""
        return _with_headers(_only_text(reply), headers)


class ChatEndpoint(Endpoint):
    """OpenAI's chat completions."""

    def body(self, question: Question) -> dict[str, Any]:
        """See `Endpoint`; the model is in the path of the other routes."""
        own = {"model": self.name, "messages": _with_system(question)} | self.given(question)
        if self.is_streamed(question):
            return own | {"stream": True, "stream_options": {"include_usage": True}}
        return own | {"stream": False}

    def read_event(self, event: dict[str, Any]) -> Piece | None:
        """See `Endpoint`."""
        if not event["choices"]:
            return _piece("", event.get("usage"), None)
        (choice,) = event["choices"]
        text = choice["delta"].get("content") or ""
        return _piece(text, event.get("usage"), choice["finish_reason"])

    def read_reply(self, reply: Any, headers: Mapping[str, str]) -> Piece:  # noqa: ARG002
        """See `Endpoint`."""
        (choice,) = reply["choices"]
        text = choice["message"]["content"]
        return _piece(text, reply.get("usage"), choice["finish_reason"])


class ZephyrEndpoint(Endpoint):
    """A route of the zephyr-7b-beta API: one message, one whole reply."""

    def body(self, question: Question) -> dict[str, Any]:
        """See `Endpoint`."""
        own: dict[str, Any]
        if self.name == "code-doc":
            own = {
                "code": question.text,
                "language": question.language,
                "include_comments": question.include_comments,
            }
        else:
            own = {"user_message": question.text}
        if self.has_system_message and question.system_message:
            own["system_message"] = question.system_message
        return own | self.given(question)

    def read_reply(self, reply: Any, headers: Mapping[str, str]) -> Piece:
        """See `Endpoint`."""
        return _with_headers(_only_text(reply), headers)


def endpoints_of(model: ModelEntry) -> dict[str, Endpoint]:
    """Return the routes of a model by their paths, its own predict route first."""
    rows = generate_map().values()
    acted_on = {row.name for row in rows if row.category in ("native", "derived")}
    parameters = frozenset(acted_on - NOT_ON_THE_PANEL | {model.predict.length_parameter})
    predict = f"/v1/models/{model.name}:predict"
    endpoints: list[Endpoint] = []
    if model.predict.input == "prompt":
        endpoints.append(
            PredictEndpoint(
                "predict",
                "Predict",
                "Continues one prompt as it stands; earlier messages are not sent.",
                predict,
                "prompt",
                parameters,
            )
        )
    else:
        endpoints.append(
            PredictEndpoint(
                "predict",
                "Predict",
                "The model's own route, with the whole conversation.",
                predict,
                "conversation",
                parameters,
                has_system_message=True,
            )
        )
    endpoints.append(
        ChatEndpoint(
            model.name,
            "OpenAI chat",
            "OpenAI's chat completions, with the whole conversation.",
            "/v1/chat/completions",
            "conversation",
            parameters - NOT_HERE,
            has_system_message=True,
        )
    )
    if model.zephyr is not None:
        endpoints += _zephyr_endpoints()
    return {endpoint.path: endpoint for endpoint in endpoints}


def _zephyr_endpoints() -> list[Endpoint]:
    sampling = frozenset(SAMPLING)
    forms: list[tuple[str, str, str, Takes, frozenset[str], bool]] = [
        (
            "python",
            "Zephyr: Python",
            "Answers as a Python developer; one message, without the conversation.",
            "message",
            sampling,
            False,
        ),
        (
            "system-message",
            "Zephyr: system message",
            "One message under a system message of your own.",
            "message",
            sampling,
            True,
        ),
        (
            "code-doc",
            "Zephyr: code documentation",
            "Documents code in markdown; Python is formatted by black first.",
            "code",
            sampling,
            False,
        ),
        (
            "structured-code-doc",
            "Zephyr: structured code documentation",
            "Documents code under the headings Summary, Parameters, Returns and Example.",
            "code",
            sampling,
            False,
        ),
        (
            "raw",
            "Zephyr: raw",
            "Prompt and answer with the chat template's tokens in place.",
            "message",
            frozenset(),
            False,
        ),
    ]
    return [
        ZephyrEndpoint(name, title, hint, f"/zephyr/{name}", takes, parameters, has_system, False)
        for name, title, hint, takes, parameters, has_system in forms
    ]


def _with_system(question: Question) -> list[Turn]:
    system = question.system_message.strip()
    first = [{"role": "system", "content": system}] if system else []
    return [*first, *question.turns]


def _only_text(reply: Any) -> str:
    """Return the text of `{"output": ...}`, `{"response": ...}` or a bare string."""
    return str(next(iter(reply.values())) if isinstance(reply, dict) else reply)


def _piece(text: str, usage: dict[str, int] | None, reason: str | None) -> Piece:
    if usage is None:
        return Piece(text, finish_reason=reason)
    return Piece(text, usage["prompt_tokens"], usage["completion_tokens"], reason)


def _with_headers(text: str, headers: Mapping[str, str]) -> Piece:
    return Piece(
        text,
        int(headers["x-usage-prompt-tokens"]),
        int(headers["x-usage-completion-tokens"]),
        headers["x-finish-reason"],
    )
