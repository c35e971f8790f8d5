"""TensorRT-LLM's executor behind the engine step's interface (docs/executor.md: what it does)."""

import itertools
import logging
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from engine_step.interface import (
    EngineRequest,
    EngineStatistics,
    EngineStoppedError,
    RequestRefusedError,
    TokenEvent,
)
from engine_step.validation import Limits, validate
from executor_engine.errors import error_of, first_line, is_failed_step
from executor_engine.live_request import LiveRequest
from executor_engine.prompt_scores import PromptScorer
from executor_engine.requests import executor_request, refuse_what_it_cannot
from executor_engine.statistics import engine_statistics, no_statistics

AWAIT = timedelta(milliseconds=50)
"""How long to wait for responses before looking at everything else."""
PAUSE_A_REQUEST = 0.0001
"""Between two awaits, for each running request: what comes meanwhile of one is taken as one."""
LONGEST_PAUSE = 0.02
"""By so much a first token or an end may be late where two hundred requests or more run."""
CANCEL_GRACE_SECONDS = 0.15
"""Within it the executor ends what runs; what waits it would end only when its turn comes."""
MOST_FAILED_STEPS = 3
"""So many without a token between them are taken for an engine that has died."""
PROBE_SECONDS = 60.0
DRAIN_SECONDS = 10.0
SHUTDOWN_SECONDS = 20.0

logger = logging.getLogger(__name__)


class ExecutorEngine:
    """Serves a TensorRT-LLM engine; implements `interface.Engine`.

    One thread awaits the responses of all requests. `submit` and `cancel` call the executor from
    the caller's thread.

    Args:
        bindings: `tensorrt_llm.bindings.executor`.
        executor: its `Executor`, of a process that may enqueue requests.
        limits: the engine's.
        max_requests: how many run at once.
        gathers_context_logits: whether the engine was built so.
        ranks: how many processes share the model.
    """

    def __init__(
        self,
        bindings: Any,
        executor: Any,
        limits: Limits,
        max_requests: int,
        *,
        gathers_context_logits: bool,
        ranks: int,
    ) -> None:
        self._bindings, self._executor, self._limits = bindings, executor, limits
        self._gathers_context_logits = gathers_context_logits
        self._scorer = PromptScorer(limits.vocab_size)
        self._lock = threading.Lock()
        self._numbers = itertools.count(1)
        # By client id, until the executor's last response; and by request id, until the caller's.
        self._live: dict[int, LiveRequest] = {}
        self._by_request_id: dict[str, LiveRequest] = {}
        self._ranks = ranks
        self._statistics = no_statistics(max_requests, ranks)
        self._closed_by: EngineStoppedError | None = None
        self._has_died = False
        self._failed_steps = 0
        self._probe_due: float | None = None
        self._thread = threading.Thread(target=self._run, name="await-responses", daemon=True)
        self._thread.start()

    def submit(self, request: EngineRequest, on_event: Callable[[TokenEvent], None]) -> None:
        """Queue `request`; see `interface.Engine.submit`."""
        validate(request, self._limits)
        refuse_what_it_cannot(request, gathers_context_logits=self._gathers_context_logits)
        self._enqueue(LiveRequest(request, on_event))

    def cancel(self, request_id: str) -> None:
        """End the request; see `interface.Engine.cancel`."""
        with self._lock:
            live = self._by_request_id.get(request_id)
            if live is not None and live.cancelled_at is None:
                live.cancelled_at = time.monotonic()
                self._cancel(live)

    def statistics(self) -> EngineStatistics:
        """Return those of the newest step."""
        with self._lock:
            if self._closed_by is None and (latest := self._executor.get_latest_iteration_stats()):
                self._statistics = engine_statistics(latest[-1], self._ranks)
            return self._statistics

    def is_alive(self) -> bool:
        """Say whether it may still answer; see `interface.Engine.is_alive`."""
        return not self._has_died or self._thread.is_alive()  # it still tells the callers

    def shutdown(self) -> None:
        """End every request with an error event, then the executor; see `interface.Engine`.

        The executor's own shutdown would first serve what waits, and has no timeout.
        """
        self._close(EngineStoppedError("the engine was shut down"))
        if threading.current_thread() is self._thread:  # called from an on_event
            return
        self._thread.join()
        ending = threading.Thread(target=self._executor.shutdown, name="shutdown", daemon=True)
        ending.start()
        ending.join(SHUTDOWN_SECONDS)
        if ending.is_alive():
            logger.error("the executor has not shut down in %.0f s", SHUTDOWN_SECONDS)

    def _enqueue(self, live: LiveRequest) -> None:
        """Hand a request to the executor.

        Raises:
            RequestRefusedError: its id is in use, or the executor refuses a value.
            QueueFullError: the executor's queue is full.
            EngineStoppedError: the engine was shut down or has died.
        """
        request = live.request
        client_id = next(self._numbers)
        try:
            asked = executor_request(self._bindings, request, client_id, self._limits.vocab_size)
        except RuntimeError as error:
            raise RequestRefusedError(first_line(str(error))) from error
        with self._lock:
            if self._closed_by:
                raise self._closed_by
            if request.request_id in self._by_request_id:
                raise RequestRefusedError(
                    f"request id {request.request_id!r} is in use by a running request; send a "
                    "unique id"
                )
            self._live[client_id] = live  # before the first response can come
            try:
                live.number = self._executor.enqueue_request(asked)
            except RuntimeError as error:
                del self._live[client_id]
                raise error_of(str(error)) from error
            if request.request_id:
                self._by_request_id[request.request_id] = live

    def _run(self) -> None:
        """Hand out responses until the engine is closed: the body of the thread."""
        try:
            while self._closed_by is None:
                responses = self._executor.await_responses(timeout=AWAIT)
                self._take_all(responses)
                self._take_scores()
                self._answer_cancelled()
                self._watch()
                time.sleep(min(LONGEST_PAUSE, len(self._live) * PAUSE_A_REQUEST))
        except Exception as error:
            logger.exception("the executor cannot be awaited")
            self._die(f"the executor cannot be awaited: {first_line(str(error))}")
        self._end_all()

    def _take_all(self, responses: list[Any]) -> None:
        """Hand out what a request has got as one, and then what has failed."""
        results: dict[int, list[Any]] = {}
        failed = []
        for response in responses:
            if response.has_error():
                failed.append(response)
            else:
                results.setdefault(response.client_id, []).append(response.result)
        for client_id, each in results.items():
            self._take(client_id, each)
        if results:
            self._failed_steps, self._probe_due = 0, None
        failed_step = ""
        for response in failed:
            text: str = response.error_msg
            self._fail(response, text)
            failed_step = text if is_failed_step(text) else failed_step
        if failed_step:
            self._note_failed_step(failed_step)

    def _take(self, client_id: int, results: list[Any]) -> None:
        live = self._live.get(client_id)
        if live is None or self._scorer.hold(client_id, results):
            return
        if live.awaits_scores and results[0].context_logits is not None:
            self._scorer.start(client_id, live.request, results)
            return
        self._report(client_id, live, results)

    def _take_scores(self) -> None:
        for client_id, scores, results in self._scorer.finished():
            live = self._live.get(client_id)
            if live is None:
                continue
            if isinstance(scores, Exception):
                live.fail(scores)
                self._cancel(live)
            else:
                live.scores = scores
            self._report(client_id, live, results)

    def _report(self, client_id: int, live: LiveRequest, results: list[Any]) -> None:
        try:
            live.take(results)
        except Exception:
            logger.exception("on_event of request %r failed", live.request.request_id)
            live.is_answered = True
            self._forget(live)
            self._cancel(live)
        if results[-1].is_final:
            self._live.pop(client_id, None)
            self._forget(live)

    def _fail(self, response: Any, text: str) -> None:
        live = self._live_of(response)
        if live is not None:
            live.fail(error_of(text))
            self._forget(live)

    def _live_of(self, response: Any) -> LiveRequest | None:
        """Return the request of an error response, which may lack the client's id."""
        if response.client_id is not None:
            return self._live.pop(response.client_id, None)
        with self._lock:
            for client_id, live in self._live.items():
                if live.number == response.request_id:
                    return self._live.pop(client_id)
        return None

    def _forget(self, live: LiveRequest) -> None:
        with self._lock:
            if self._by_request_id.get(live.request.request_id) is live:
                del self._by_request_id[live.request.request_id]

    def _cancel(self, live: LiveRequest) -> None:
        try:
            self._executor.cancel_request(live.number)
        except RuntimeError as error:  # it is shutting down
            logger.warning("request %s cannot be cancelled: %s", live.number, error)

    def _answer_cancelled(self) -> None:
        """Answer for the executor where it has not, for example of what waits in its queue."""
        with self._lock:
            due = time.monotonic() - CANCEL_GRACE_SECONDS
            overdue = [
                live
                for live in self._by_request_id.values()
                if live.cancelled_at is not None and live.cancelled_at <= due
            ]
        for live in overdue:
            live.end()
            self._forget(live)

    def _note_failed_step(self, text: str) -> None:
        self._failed_steps += 1
        logger.error("step %d in a row has failed: %s", self._failed_steps, text)
        if self._failed_steps >= MOST_FAILED_STEPS:
            self._die(f"the engine has died: {first_line(text)}")
            return
        self._probe_due = time.monotonic() + PROBE_SECONDS
        probe = EngineRequest(request_id="", input_ids=[0], request_output_len=1)
        try:
            self._enqueue(LiveRequest(probe, lambda _: None))
        except Exception:
            logger.exception("the engine cannot be probed")

    def _watch(self) -> None:
        if self._probe_due is not None and time.monotonic() > self._probe_due:
            self._die(f"the engine has not made a token in {PROBE_SECONDS:.0f} s")

    def _die(self, reason: str) -> None:
        logger.critical("%s", reason)
        self._has_died = True
        self._close(EngineStoppedError(reason))

    def _close(self, reason: EngineStoppedError) -> None:
        with self._lock:
            self._closed_by = self._closed_by or reason

    def _end_all(self) -> None:
        """End the callers' requests, then collect the executor's last responses of them."""
        assert self._closed_by is not None
        with self._lock:
            live = list(self._live.values())
            self._by_request_id.clear()
        for each in live:
            each.fail(self._closed_by)
        for client_id, results in self._scorer.close():
            if client_id in self._live:
                self._report(client_id, self._live[client_id], results)
        if self._has_died:
            return
        for each in live:
            self._cancel(each)
        deadline = time.monotonic() + DRAIN_SECONDS
        while self._live and time.monotonic() < deadline:
            self._take_all(self._executor.await_responses(timeout=AWAIT))
