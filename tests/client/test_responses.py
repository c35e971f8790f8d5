"""What is read of responses that come faster than they are taken."""

import asyncio
from collections.abc import AsyncGenerator

import pytest

from aeolus_client.errors import GenerationFailedError, ServiceError
from aeolus_client.triton.responses import ResponseBuffer
from aeolus_client.triton.tensors import EnsembleResponse

HOUR = 3600.0


def result(text: str, *, is_final: bool = False) -> EnsembleResponse:
    """One response of the ensemble, a token long."""
    return EnsembleResponse(text, "", tokens=1, prompt_tokens=3, is_final=is_final)


class Call:
    """A call whose responses come when a test says so."""

    def __init__(self) -> None:
        self._results: asyncio.Queue[EnsembleResponse | None] = asyncio.Queue()

    async def send(self, *results: EnsembleResponse | None) -> None:
        """Let these come and be read; `None` is the end of the call."""
        for each in results:
            self._results.put_nowait(each)
        for _ in range(2 * len(results) + 4):
            await asyncio.sleep(0)

    async def responses(self) -> AsyncGenerator[EnsembleResponse | ServiceError, None]:
        while (each := await self._results.get()) is not None:
            yield each

    def end(self) -> None:
        self._results.put_nowait(None)


def test_what_waits_is_read_as_one() -> None:
    async def read() -> list[EnsembleResponse]:
        call = Call()
        buffer = ResponseBuffer(call.responses())
        texts = [str(each) for each in range(200)]
        await call.send(*map(result, texts), result("end", is_final=True), None)
        return [each async for each in buffer]

    (joined,) = asyncio.run(read())
    assert joined.text == "".join(map(str, range(200))) + "end"
    assert (joined.tokens, joined.prompt_tokens, joined.is_final) == (201, 3, True)


def test_the_first_and_the_last_do_not_wait_for_the_pace() -> None:
    async def read() -> list[str]:
        call = Call()
        responses = aiter(ResponseBuffer(call.responses(), lambda: HOUR))
        await call.send(result("a"))
        texts = [(await anext(responses)).text]
        await call.send(result("b"), result("c"))
        following = asyncio.ensure_future(anext(responses))
        await asyncio.sleep(0)
        assert not following.done()
        await call.send(result("d", is_final=True))
        return [*texts, (await following).text]

    assert asyncio.run(read()) == ["a", "bcd"]


def test_what_came_before_an_error_is_read_first_and_the_error_does_not_wait() -> None:
    async def read() -> str:
        call = Call()
        buffer = ResponseBuffer(call.responses(), lambda: HOUR)
        responses = aiter(buffer)
        await call.send(result("a"))
        text = (await anext(responses)).text
        await call.send(result("b"))
        buffer.fail(GenerationFailedError("lost"))
        text += (await anext(responses)).text
        with pytest.raises(GenerationFailedError, match="lost"):
            await anext(responses)
        call.end()
        return text

    assert asyncio.run(read()) == "ab"


def test_a_pace_that_is_over_lets_the_next_response_through() -> None:
    async def read() -> list[str]:
        call = Call()
        responses = aiter(ResponseBuffer(call.responses(), lambda: 0.001))
        texts = []
        for text in "abc":
            await call.send(result(text))
            texts.append((await anext(responses)).text)
        return texts

    assert asyncio.run(read()) == ["a", "b", "c"]
