"""An executor that makes tokens at a given pace, at next to no cost: for benchmarks.

The engine's `rank0.engine` names the pace: `{"tokens_per_second": number, "vocab_size": number}`.
Each step gives each request one token, that only its seed determines, as a response of its own, as
the real executor does. What is due by the clock is made when it is awaited, in the thread that
awaits it: the real one makes it in C++, beside Python.
"""

import datetime
import json
import random
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine_step.interface import PerfMetrics, TokenEvent
from tensorrt_llm.standing_in.executor import Executor, perf_metrics
from tensorrt_llm.standing_in.table import BOUND, Response

FIRST_ID = 3
"""Below are special ids."""
RESULT = BOUND["Result"]
LENGTH, CANCELLED = BOUND["FinishReason"].LENGTH, BOUND["FinishReason"].CANCELLED
UNFINISHED = [BOUND["FinishReason"].NOT_FINISHED]
STEPS_A_SECOND = 500
"""At most: what a fast GPU makes of Mistral 7B."""


def is_paced(engine: Path) -> bool:
    """Say whether an engine's directory names a pace."""
    path = engine / "rank0.engine"
    return path.is_file() and b"tokens_per_second" in path.read_bytes()


@dataclass(slots=True)
class _Stream:
    number: int
    client_id: int | None
    tokens: list[int]
    perf_metrics: Any
    sent: int = 0


class PacedExecutor(Executor):
    """See the module; plain requests and streams alike come token by token."""

    def _open_model(self, engine: Path) -> None:
        found = json.loads((engine / "rank0.engine").read_text(encoding="utf-8"))
        self._rate, self._tokens_of = found["tokens_per_second"], found["vocab_size"]
        self._streams: dict[int, _Stream] = {}
        self._due = 0.0

    def _enqueue(self, requests: list[Any]) -> list[int]:
        self._check_usage("enqueueRequests")
        with self._changed:
            if not self._streams:
                self._due = time.monotonic()
            for request in requests:
                stream = self._stream_of(next(self._numbers), request)
                self._streams[stream.number] = stream
            self._ready.notify()
            return list(self._streams)[-len(requests) :]

    def _stream_of(self, number: int, request: Any) -> _Stream:
        rng = random.Random(request.sampling_config.seed or 0)
        tokens = [rng.randrange(FIRST_ID, self._tokens_of) for _ in range(request.max_tokens)]
        metrics = _metrics_from_now() if request.output_config.return_perf_metrics else None
        return _Stream(number, request.client_id, tokens, metrics)

    def _await(self, timeout: datetime.timedelta | None) -> list[Any]:
        deadline = time.monotonic() + (3600 if timeout is None else timeout.total_seconds())
        with self._changed:
            while True:
                now = time.monotonic()
                if responses := [*self._cancelled(), *self._due_responses(now)]:
                    return responses
                if now >= deadline or self._is_ending:
                    return []
                self._ready.wait((min(self._due, deadline) if self._streams else deadline) - now)

    def _cancelled(self) -> list[Any]:
        ended = [self._streams.pop(each) for each in self._marked if each in self._streams]
        self._marked.clear()
        return [self._response(each, [], CANCELLED) for each in ended]

    def _due_responses(self, now: float) -> list[Any]:
        """Make those of every step that is due, a request's one after the other."""
        steps = 0
        step_seconds = max(len(self._streams) / self._rate, 1 / STEPS_A_SECOND)
        while self._streams and self._due <= now:
            self._due += step_seconds
            steps += 1
        responses = []
        for stream in list(self._streams.values()):
            for token in stream.tokens[stream.sent : stream.sent + steps]:
                stream.sent += 1
                is_final = stream.sent == len(stream.tokens)
                reason = LENGTH if is_final else None
                responses.append(self._response(stream, [token], reason))
                if is_final:
                    del self._streams[stream.number]
        return responses

    def _response(self, stream: _Stream, tokens: list[int], reason: Any) -> Response:
        result = RESULT(
            is_final=reason is not None,
            output_token_ids=[tokens],
            finish_reasons=[reason] if reason else UNFINISHED,
            request_perf_metrics=stream.perf_metrics,
        )
        return Response(stream.number, result, stream.client_id)

    def _close_model(self) -> None:
        pass

    def _loop(self) -> None:
        """Do nothing: there is no step but in `_await`."""


def _metrics_from_now() -> Any:
    now = time.monotonic_ns()
    return perf_metrics(
        TokenEvent(
            [],
            is_final=False,
            perf_metrics=PerfMetrics(
                arrival_time_ns=now,
                first_scheduled_time_ns=now,
                first_token_time_ns=now,
                last_token_time_ns=now,
                kv_cache_alloc_total_blocks=1,
                kv_cache_alloc_new_blocks=1,
                kv_cache_reused_blocks=0,
            ),
        )
    )
