"""The response object, and the events by which it is streamed."""

import time
from collections.abc import AsyncGenerator
from itertools import count
from typing import Any, Literal

from aeolus_client import Completion, ServiceError, TextChunk
from shim.errors.outcomes import status_and_text
from shim.families.openai.logprobs import chat_logprobs
from shim.families.openai.plans import Plan
from shim.families.openai.replies import Reply, all_chunks
from shim.families.openai.response_bodies import ResponseBody
from shim.families.replies import data_event
from shim.generation.sequences import IndexedChunk

Status = Literal["in_progress", "completed", "incomplete", "failed"]
PLACE = {"output_index": 0, "content_index": 0}


class ResponseReply(Reply):
    """One response: a single message of a single text."""

    def __init__(self, body: ResponseBody, plan: Plan, request_id: str):
        """Take what is repeated of the request."""
        self._request_id = request_id
        self._message_id = f"msg_{request_id}"
        request = plan.requests[0]
        is_greedy = request.top_k == 1
        self._fixed = {
            "id": f"resp_{request_id}",
            "object": "response",
            "created_at": int(time.time()),
            "model": body.model,
            "instructions": body.instructions,
            "max_output_tokens": body.max_output_tokens,
            "temperature": 0.0 if is_greedy else request.temperature,
            "top_p": 1.0 if request.top_p is None else request.top_p,
            "top_logprobs": body.top_logprobs or 0,
            "text": {"format": {"type": "text"}},
            "store": False,
            "background": False,
            "previous_response_id": None,
            "truncation": "disabled",
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "reasoning": {"effort": None, "summary": None},
            "metadata": {},
        }

    def content(self, completions: list[Completion], plan: Plan) -> dict[str, Any]:  # noqa: ARG002
        """Return the body of a plain reply."""
        (completion,) = completions
        return self._ended(completion, completion.text, _logprobs(completion))

    async def events(
        self,
        first: IndexedChunk,
        rest: AsyncGenerator[IndexedChunk, None],
        plan: Plan,  # noqa: ARG002
        include_usage: bool,  # noqa: ARG002 - always told
    ) -> AsyncGenerator[str, None]:
        """Yield the events of a streamed reply."""
        numbers = count()

        def event(kind: str, **fields: Any) -> str:
            number = {"sequence_number": next(numbers)}
            return f"event: {kind}\n{data_event({'type': kind} | number | fields)}"

        place = PLACE | {"item_id": self._message_id}
        begun = self._response("in_progress")
        yield event("response.created", response=begun)
        yield event("response.in_progress", response=begun)
        message = self._message("in_progress", [])
        yield event("response.output_item.added", output_index=0, item=message)
        yield event("response.content_part.added", **place, part=_part("", []))
        text, logprobs = "", list[dict[str, Any]]()
        try:
            async for _, chunk in all_chunks(first, rest):
                last = chunk
                if chunk.text or chunk.log_probs:
                    these = _logprobs(chunk)
                    yield event(
                        "response.output_text.delta", **place, delta=chunk.text, logprobs=these
                    )
                    text += chunk.text
                    logprobs += these
        except ServiceError as error:
            status, reason = status_and_text(error, self._request_id)
            code = "rate_limit_exceeded" if status == 429 else "server_error"
            failed = self._response("failed") | {"error": {"code": code, "message": reason}}
            yield event("response.failed", response=failed)
            return
        part = _part(text, logprobs)
        yield event("response.output_text.done", **place, text=text, logprobs=logprobs)
        yield event("response.content_part.done", **place, part=part)
        response = self._ended(last, text, logprobs)
        yield event("response.output_item.done", output_index=0, item=response["output"][0])
        yield event(f"response.{response['status']}", response=response)

    def _ended(
        self, end: Completion | TextChunk, text: str, logprobs: list[dict[str, Any]]
    ) -> dict[str, Any]:
        is_cut = end.finish_reason == "length"
        status: Status = "incomplete" if is_cut else "completed"
        return self._response(status, self._message(status, [_part(text, logprobs)])) | {
            "completed_at": None if is_cut else int(time.time()),
            "incomplete_details": {"reason": "max_output_tokens"} if is_cut else None,
            "usage": {
                "input_tokens": end.prompt_tokens,
                "input_tokens_details": {"cached_tokens": 0, "cache_write_tokens": 0},
                "output_tokens": end.completion_tokens,
                "output_tokens_details": {"reasoning_tokens": 0},
                "total_tokens": end.prompt_tokens + end.completion_tokens,
            },
        }

    def _response(self, status: Status, *output: dict[str, Any]) -> dict[str, Any]:
        return self._fixed | {
            "status": status,
            "error": None,
            "incomplete_details": None,
            "output": [*output],
            "usage": None,
        }

    def _message(self, status: Status, content: list[dict[str, Any]]) -> dict[str, Any]:
        return {
            "id": self._message_id,
            "type": "message",
            "role": "assistant",
            "status": status,
            "content": content,
        }


def _part(text: str, logprobs: list[dict[str, Any]]) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": logprobs}


def _logprobs(reply: Completion | TextChunk) -> list[dict[str, Any]]:
    found = chat_logprobs(reply)
    return found["content"] if found else []
