"""The same client for programs without asyncio."""

import asyncio
import threading
import weakref
from collections.abc import AsyncGenerator, Coroutine, Generator, Mapping, Sequence
from contextlib import aclosing
from queue import SimpleQueue
from types import TracebackType
from typing import Any, Generic, Self, TypeVar, Unpack

from aeolus_client.backend import ModelInfo
from aeolus_client.chat import REPLY_TOKENS, AsyncChat
from aeolus_client.client import DEFAULT_TIMEOUT, DEFAULT_URL, AsyncClient, Prompt
from aeolus_client.generation import Completion, Message, TextChunk
from aeolus_client.parameters import GenerateParameters
from aeolus_client.rest.backend import Prediction, ZephyrRoute

T = TypeVar("T")


class _End:
    """What comes behind the last item."""


class _Running(Generic[T]):
    """A coroutine on an event loop in another thread."""

    def __init__(self, loop: asyncio.AbstractEventLoop, coroutine: Coroutine[Any, Any, T]):
        self._loop = loop
        self._coroutine = coroutine
        self._task: asyncio.Task[T] | None = None
        self._ended = threading.Event()

    def start(self) -> None:
        self._loop.call_soon_threadsafe(self._start)

    def wait(self) -> T:
        """Wait for its end; returns or raises what it does."""
        self._ended.wait()
        assert self._task is not None
        return self._task.result()

    def stop(self) -> None:
        """Cancel it if it has not ended, and wait until it has; it may not have been started."""
        if not self._ended.is_set():
            self._loop.call_soon_threadsafe(self._cancel)
            self._ended.wait()

    def _start(self) -> None:
        self._task = self._loop.create_task(self._coroutine)
        self._task.add_done_callback(lambda _: self._ended.set())

    def _cancel(self) -> None:
        if self._task is not None:
            self._task.cancel()
        else:
            self._coroutine.close()
            self._ended.set()


class Portal:
    """An event loop in a thread of its own, and the way into it."""

    def __init__(self) -> None:
        """Start the thread."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="aeolus client", daemon=True)
        self._thread.start()

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine there to its end; Ctrl-C here cancels it and waits until it has ended."""
        running = _Running(self._loop, coroutine)
        try:
            running.start()
            return running.wait()
        except BaseException:
            running.stop()
            raise

    def iterate(self, items: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        """Yield what an asynchronous generator does; closing this one closes it."""
        queue: SimpleQueue[T | _End] = SimpleQueue()

        async def read() -> None:
            try:
                async with aclosing(items):
                    async for item in items:
                        queue.put(item)
            finally:
                queue.put(_End())

        running = _Running(self._loop, read())
        try:
            running.start()
            while not isinstance(item := queue.get(), _End):
                yield item
            running.wait()
        finally:
            running.stop()

    def close(self) -> None:
        """End the thread."""
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()

    def _run(self) -> None:
        try:
            self._loop.run_forever()
        finally:
            self._loop.run_until_complete(self._loop.shutdown_asyncgens())
            self._loop.close()


class Client:
    """Sends requests to one server or several; may be shared by threads.

    Every method raises a `ServiceError` when it cannot do what it says; its class says what the
    caller can do about it. Leaving a stream, Ctrl-C and a timeout all stop the engine.

    >>> client = Client("http://127.0.0.1:8000")
    >>> reply = client.generate("What is a zephyr?", max_tokens=20)
    >>> print(reply.text, reply.completion_tokens, reply.finish_reason)
    A zephyr is ...
    >>> for chunk in client.stream("What is a zephyr?", max_tokens=20):
    ...     print(chunk.text, end="")
    A zephyr is ...
    >>> client.close()
    """

    def __init__(
        self,
        url: str | Sequence[str] = DEFAULT_URL,
        *,
        model: str | None = None,
        api_key: str | None = None,
        timeout: float | None = DEFAULT_TIMEOUT,
        connect_timeout: float = 5.0,
        retries: int = 2,
    ):
        """Connect on first use; takes what `AsyncClient` takes."""
        self._client = AsyncClient(
            url,
            model=model,
            api_key=api_key,
            timeout=timeout,
            connect_timeout=connect_timeout,
            retries=retries,
        )
        self._portal = Portal()
        self._finalizer = weakref.finalize(self, _close, self._portal, self._client)

    def generate(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        raw: bool = False,
        timeout: float | None = None,
        **parameters: Unpack[GenerateParameters],
    ) -> Completion:
        """Return the whole reply to a question or conversation; see `AsyncClient.generate`."""
        return self._portal.call(
            self._client.generate(prompt, model=model, raw=raw, timeout=timeout, **parameters)
        )

    def stream(
        self,
        prompt: Prompt,
        *,
        model: str | None = None,
        raw: bool = False,
        timeout: float | None = None,
        **parameters: Unpack[GenerateParameters],
    ) -> Generator[TextChunk, None, None]:
        """Yield the reply as it comes; see `AsyncClient.stream`. Close it to leave early."""
        return self._portal.iterate(
            self._client.stream(prompt, model=model, raw=raw, timeout=timeout, **parameters)
        )

    def predict(
        self,
        body: Mapping[str, Any],
        *,
        model: str | None = None,
        timeout: float | None = None,
    ) -> Prediction:
        """Post a body to the model's predict route; returns what the route replies.

        >>> with Client("http://127.0.0.1:8000", model="mistral-7b") as client:
        ...     client.predict({"prompt": "The wind", "max_new_tokens": 4}).completion_tokens
        4
        """
        return self._portal.call(self._client.predict(body, model=model, timeout=timeout))

    def stream_predict(
        self,
        body: Mapping[str, Any],
        *,
        model: str | None = None,
        timeout: float | None = None,
    ) -> Generator[TextChunk, None, None]:
        """Post a body to the model's predict route; yields the reply as it comes."""
        return self._portal.iterate(self._client.stream_predict(body, model=model, timeout=timeout))

    def zephyr(
        self, route: ZephyrRoute, body: Mapping[str, Any], *, timeout: float | None = None
    ) -> Prediction:
        """Post a query to a route of the Zephyr app; returns what the route replies.

        >>> with Client("http://127.0.0.1:8000") as client:
        ...     query = {"user_message": "What is a zephyr?", "max_new_tokens": 20}
        ...     print(client.zephyr("python", query).output)
        A zephyr is ...
        """
        return self._portal.call(self._client.zephyr(route, body, timeout=timeout))

    def models(self) -> list[ModelInfo]:
        """Return what is served.

        >>> with Client("http://127.0.0.1:8000") as client:
        ...     print(client.models()[0])
        ModelInfo(name='stablelm-zephyr-3b', context_length=4096, is_ready=True)
        """
        return self._portal.call(self._client.models())

    def metrics(self) -> str:
        """Return the service's metrics in Prometheus' text format."""
        return self._portal.call(self._client.metrics())

    def count_tokens(self, prompt: Prompt, *, model: str | None = None) -> int:
        """Return how many tokens a question or conversation is to the model."""
        return self._portal.call(self._client.count_tokens(prompt, model=model))

    def close(self) -> None:
        """Disconnect."""
        self._finalizer()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()


class Chat:
    """Keeps the turns of a conversation and sends those that leave room for a reply.

    See `AsyncChat`.

    >>> client = Client("http://127.0.0.1:8000")
    >>> chat = Chat(client, system="Answer in one sentence.", max_tokens=20)
    >>> print(chat.send("What is a zephyr?").text)
    A zephyr is ...
    >>> reply = "".join(chunk.text for chunk in chat.stream("And a mistral?"))
    >>> [each["role"] for each in chat.messages]
    ['system', 'user', 'assistant', 'user', 'assistant']
    >>> client.close()
    """

    def __init__(
        self,
        client: Client,
        *,
        model: str | None = None,
        system: str | None = None,
        context_length: int | None = None,
        reply_tokens: int = REPLY_TOKENS,
        **parameters: Any,
    ):
        """Begin a conversation; takes what `AsyncChat` takes."""
        self._portal = client._portal
        self.conversation = AsyncChat(
            client._client,
            model=model,
            system=system,
            context_length=context_length,
            reply_tokens=reply_tokens,
            **parameters,
        )
        """Holds the turns and the settings; what it does without asking may be called on it."""

    @property
    def messages(self) -> list[Message]:
        """The system message, if there is one, and all turns."""
        return self.conversation.messages

    @property
    def tokens_used(self) -> int:
        """What the last prompt and its reply took; 0 where that is not known."""
        return self.conversation.tokens_used

    def send(self, text: str, *, timeout: float | None = None) -> Completion:
        """Say something; returns the whole reply."""
        return self._portal.call(self.conversation.send(text, timeout=timeout))

    def stream(
        self, text: str, *, timeout: float | None = None
    ) -> Generator[TextChunk, None, None]:
        """Say something; yields the reply as it comes."""
        return self._portal.iterate(self.conversation.stream(text, timeout=timeout))


def _close(portal: Portal, client: AsyncClient) -> None:
    portal.call(client.close())
    portal.close()
