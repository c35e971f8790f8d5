"""What a user does with a conversation: send, stop, regenerate, edit, begin anew."""

import asyncio
import time
from contextlib import aclosing

from shim.pages.chat.endpoints import Piece
from shim.pages.chat.service import Service, ServiceProblemError
from shim.pages.chat.session import Message, Session

REDRAW_SECONDS = 0.06
"""At most so often is a page told of new text."""
TOO_LONG = "prompt and reply together"
"""The service's words where a prompt has too many tokens."""
ROOM = 4
"""One token of so many of the model's limit stays free for the reply."""


class Conversation:
    """Runs one generation at a time for a session."""

    def __init__(self, session: Session, service: Service):
        self.session = session
        self._service = service
        self._task: asyncio.Task[None] | None = None
        self._redraw: asyncio.TimerHandle | None = None

    @property
    def is_running(self) -> bool:
        """Whether a reply is being written."""
        return self._task is not None

    def send(self, text: str) -> None:
        """Say something and have it answered."""
        if self.is_running or not text.strip():
            return
        is_code = self.session.endpoint.takes == "code"
        language = self.session.language if is_code else ""
        self.session.messages.append(Message("user", text, is_code=is_code, language=language))
        self._answer()

    def regenerate(self) -> None:
        """Have the last message answered again."""
        messages = self.session.messages
        if self.is_running or not messages:
            return
        while messages and messages[-1].role == "assistant":
            messages.pop()
        if messages:
            self._answer()

    def edit(self, message: Message, text: str) -> None:
        """Say something else instead of an earlier message, and drop what followed."""
        if self.is_running or not text.strip():
            return
        del self.session.messages[self.session.messages.index(message) :]
        self.send(text)

    async def stop(self) -> None:
        """End the running reply; the engine is cancelled, the text so far stays."""
        task = self._task
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def clear(self) -> None:
        """Begin anew."""
        await self.stop()
        self.session.messages.clear()
        self.session.tell("conversation")

    def _answer(self) -> None:
        reply = Message("assistant", "", model=self.session.model.name, is_running=True)
        self.session.messages.append(reply)
        self._task = asyncio.create_task(self._run(reply), name="reply on the chat page")
        self.session.tell("conversation")

    async def _run(self, reply: Message) -> None:
        try:
            await self._generate(reply)
        except asyncio.CancelledError:
            reply.finish_reason = "stopped"
        except ServiceProblemError as problem:
            reply.problem = problem
        finally:
            self._task = None
            reply.is_running = False
            reply.seconds = time.monotonic() - reply.started_at
            if self._redraw is not None:
                self._redraw.cancel()
                self._redraw = None
            self.session.tell("conversation")

    async def _generate(self, reply: Message) -> None:
        """Ask; where the conversation is too long for the model, its beginning is not sent."""
        reply.left_out = self._too_old()
        while True:
            try:
                await self._ask(reply)
                return
            except ServiceProblemError as problem:
                is_too_long = problem.status == 400 and TOO_LONG in problem.text
                if not is_too_long or len(self.session.question(reply.left_out).turns) < 3:
                    raise
                reply.left_out += 2

    async def _ask(self, reply: Message) -> None:
        session = self.session
        question = session.question(reply.left_out)
        pieces = self._service.ask(session.endpoint, question, session.api_key)
        async with aclosing(pieces):
            async for piece in pieces:
                self._add(reply, piece)

    def _add(self, reply: Message, piece: Piece) -> None:
        if piece.text and not reply.text and piece.finish_reason is None:
            reply.first_text_seconds = time.monotonic() - reply.started_at
        reply.text += piece.text
        if piece.finish_reason is not None:
            reply.finish_reason = piece.finish_reason
        if piece.prompt_tokens is not None:
            reply.prompt_tokens = piece.prompt_tokens
            reply.completion_tokens = piece.completion_tokens
        if self._redraw is None:
            loop = asyncio.get_running_loop()
            self._redraw = loop.call_later(REDRAW_SECONDS, self._tell_of_text)

    def _tell_of_text(self) -> None:
        self._redraw = None
        self.session.tell("reply")

    def _too_old(self) -> int:
        """Return how many messages to leave out, judged by the engine's count of the last reply."""
        session = self.session
        last = next((each for each in reversed(session.messages) if each.tokens), None)
        if session.endpoint.takes != "conversation" or last is None:
            return 0
        lengths = [len(turn["content"]) for turn in session.question(last.left_out).turns]
        per_character = (last.tokens or 0) / max(1, sum(lengths[:-1]))
        limit = session.model.predict.max_length
        free = limit - limit // ROOM - per_character * sum(lengths)
        left_out = 0
        while free < 0 and left_out + 2 < len(lengths):
            free += per_character * sum(lengths[left_out : left_out + 2])
            left_out += 2
        return last.left_out + left_out
