"""The executor: its queue, its loop and its awkward behaviours (cpp/tensorrt_llm/executor/
executorImpl.cpp), in front of a model that makes real tokens.

Files in the engine's directory make it fail while it runs: with `forward_error` each step ends all
active requests with the file's text; `forward_error_once` does so once and is removed. In
`rank0.engine`, `shutdown_seconds` makes `shutdown` slow.
"""

import datetime
import itertools
import json
import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

from engine_step.interface import TokenEvent
from tensorrt_llm.standing_in.models import Model, engine_request, open_model
from tensorrt_llm.standing_in.ranks import Ranks
from tensorrt_llm.standing_in.table import BOUND, TABLE, Response, bind

VOCABULARY_PADDING = 8
"""Columns of context logits behind the vocabulary, as a vocabulary shared by ranks has them."""
STEP_SECONDS = 0.005
"""How often the loop looks where nothing wakes it."""


def strict(method: str) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """Check a method's arguments against the table before it runs."""
    entry = TABLE["classes"]["Executor"]["methods"][method]
    overloads = [each["arguments"] for each in entry.get("overloads", [entry])]

    def decorate(function: Callable[..., Any]) -> Callable[..., Any]:
        def call(self: Any, *args: Any, **kwargs: Any) -> Any:
            return function(self, **bind(f"Executor.{method}", overloads, args, kwargs))

        return call

    return decorate


@dataclass(slots=True)
class _Active:
    """A request that runs, with its return sequences."""

    number: int
    request: Any
    sequences: int
    prompt: list[int]
    counts: list[int] = field(default_factory=list)
    ended: list[bool] = field(default_factory=list)
    is_cancelled: bool = False
    context_logits: Any = None

    @property
    def beam_width(self) -> int:
        width: int = self.request.sampling_config.beam_width
        return width

    def name(self, sequence: int) -> str:
        return f"{self.number}/{sequence}"


class Executor:
    """See the module."""

    def __new__(cls, *args: Any, **kwargs: Any) -> "Executor":
        """Take the paced one for an engine that names a pace, or the one of orchestrator mode."""
        from tensorrt_llm.standing_in import orchestrator, paced

        engine = kwargs.get("model_path", args[0] if args else "")
        if paced.is_paced(Path(engine)):
            return object.__new__(paced.PacedExecutor)
        parallel = getattr(kwargs.get("executor_config"), "parallel_config", None)
        if parallel and parallel.communication_mode is BOUND["CommunicationMode"].ORCHESTRATOR:
            return object.__new__(orchestrator.OrchestratedExecutor)
        return object.__new__(cls)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        entry = TABLE["classes"]["Executor"]
        values = bind("Executor.__init__", entry["init"][:1], args, kwargs)
        if values["model_type"] is not BOUND["ModelType"].DECODER_ONLY:
            raise RuntimeError("[TensorRT-LLM][ERROR] the engine is decoder only")
        engine, config = Path(values["model_path"]), values["executor_config"].given()
        if not (engine / "config.json").is_file():
            raise RuntimeError(f"[TensorRT-LLM][ERROR] {engine}/config.json: no such file")
        built = json.loads((engine / "config.json").read_text(encoding="utf-8"))
        self._engine, self._config = engine, config
        self._limits = built["build_config"]
        self._vocab_size = built["pretrained_config"]["vocab_size"]
        self._check_limits()
        self._max_active = config["max_batch_size"] or self._limits["max_batch_size"]
        self._world_size = built["pretrained_config"]["mapping"]["world_size"]
        orchestrated = self._is_orchestrated(self._world_size)
        self._ranks = Ranks(1 if orchestrated else self._world_size)
        self._is_leader = self._ranks.rank == 0
        lock = threading.RLock()
        self._changed, self._ready = threading.Condition(lock), threading.Condition(lock)
        self._numbers = itertools.count(1)
        self._queue: deque[tuple[int, Any] | None] = deque()
        self._active: dict[int, _Active] = {}
        self._events: deque[tuple[_Active, int, TokenEvent]] = deque()
        self._marked: set[int] = set()
        self._cached_prompts: set[tuple[int | None, tuple[int, ...]]] = set()
        self._responses: dict[int, list[Response]] = {}
        self._statistics: deque[Any] = deque(maxlen=config["iter_stats_max_iterations"])
        self._iterations = 0
        self._is_ending = self._shutdown_called = False
        if self._is_leader:
            self._open_model(engine)
            self._ranks.tell(("settings", repr(values["executor_config"])))
            self._thread = threading.Thread(target=self._loop, name="executionLoop", daemon=True)
        else:
            self._thread = threading.Thread(
                target=self._ranks.follow, args=[repr(values["executor_config"])], daemon=True
            )
        self._thread.start()

    def _close_model(self) -> None:
        self._model.close()

    def _open_model(self, engine: Path) -> None:
        self._model: Model = open_model(engine, self._max_active, self._limits["max_beam_width"])

    def _check_limits(self) -> None:
        for name in ("max_beam_width", "max_batch_size", "max_num_tokens"):
            asked = self._config[name]
            if asked is not None and asked > self._limits[name]:
                raise RuntimeError(
                    f"[TensorRT-LLM][ERROR] Runtime configured {name} ({asked}) must not exceed "
                    f"engine {name} ({self._limits[name]})"
                )
        if self._config["batching_type"] is not BOUND["BatchingType"].INFLIGHT:
            raise RuntimeError("[TensorRT-LLM][ERROR] Static batching type is deprecated")

    def _is_orchestrated(self, world_size: int) -> bool:
        parallel = self._config["parallel_config"]
        modes = BOUND["CommunicationMode"]
        if parallel is None or parallel.communication_mode is modes.LEADER:
            return False
        if parallel.orchestrator_config is None:
            raise RuntimeError(
                "[TensorRT-LLM][ERROR] When using ORCHESTRATOR mode, orchestrator config must be "
                "set"
            )
        worker = Path(parallel.orchestrator_config.worker_executable_path)
        if not worker.is_file():
            raise RuntimeError(f"MPI_Comm_spawn of {world_size} ranks: {worker} does not exist")
        return True

    @strict("enqueue_request")
    def enqueue_request(self, request: Any) -> int:
        return self._enqueue([request])[0]

    @strict("enqueue_requests")
    def enqueue_requests(self, requests: list[Any]) -> list[int]:
        return self._enqueue(requests)

    def _enqueue(self, requests: list[Any]) -> list[int]:
        self._check_usage("enqueueRequests")
        with self._changed:
            limit = self._config["max_queue_size"] or 0
            if 0 < limit < len(self._queue) + len(requests):
                raise RuntimeError(
                    f"[TensorRT-LLM][ERROR] Maximum queue size of {limit} has been reached, please "
                    "try again later (/src/tensorrt_llm/cpp/tensorrt_llm/executor/"
                    "executorImpl.cpp:1234)\n1  0x7f stack trace"
                )
            numbers = [next(self._numbers) for _ in requests]
            waiting = [each for each in self._queue if each is not None]
            waiting += zip(numbers, requests, strict=True)
            # The higher priority first, equal ones as they came.
            waiting.sort(key=lambda each: -each[1].given()["priority"])
            self._queue = deque(waiting)
            self._changed.notify()
            return numbers

    @strict("await_responses")
    def await_responses(self, timeout: datetime.timedelta | None, **which: Any) -> Any:
        self._check_usage("awaitResponses")
        if which:
            raise NotImplementedError("the stand-in awaits the responses of all requests only")
        return self._await(timeout)

    def _await(self, timeout: datetime.timedelta | None) -> list[Any]:
        seconds = None if timeout is None else timeout.total_seconds()
        with self._changed:
            self._ready.wait_for(lambda: self._responses or self._is_ending, seconds)
            ready, self._responses = self._responses, {}
        # In no order of the requests: the real one keeps them in a hash table.
        return [each for number in reversed(ready) for each in ready[number]]

    @strict("get_num_responses_ready")
    def get_num_responses_ready(self, id: int | None) -> int:  # noqa: A002 - the table's name
        self._check_usage("getNumResponsesReady")
        with self._changed:
            ready = self._responses if id is None else {id: self._responses.get(id, [])}
            return sum(map(len, ready.values()))

    @strict("cancel_request")
    def cancel_request(self, id: int) -> None:  # noqa: A002 - the table's name
        self._check_usage("cancelRequest")
        with self._changed:
            self._marked.add(id)
            self._changed.notify()

    @strict("get_latest_iteration_stats")
    def get_latest_iteration_stats(self) -> list[Any]:
        self._check_usage("getLatestIterationStats")
        with self._changed:
            latest = list(self._statistics)
            self._statistics.clear()
            return latest

    @strict("can_enqueue_requests")
    def can_enqueue_requests(self) -> bool:
        return self._is_leader and not self._shutdown_called

    @strict("shutdown")
    def shutdown(self) -> None:
        if self._shutdown_called:
            return
        self._shutdown_called = True
        with self._changed:
            self._queue.append(None)  # behind what waits: it is served first
            self._changed.notify()
        self._thread.join()
        if self._is_leader:
            settings = json.loads((self._engine / "rank0.engine").read_text(encoding="utf-8"))
            time.sleep(settings.get("shutdown_seconds", 0))
            self._close_model()
            self._ranks.tell(("end", None))

    def _check_usage(self, method: str) -> None:
        if self._shutdown_called:
            raise RuntimeError("[TensorRT-LLM][ERROR] Assertion failed: Shutdown called")
        if not self._is_leader:
            raise RuntimeError(
                "[TensorRT-LLM][ERROR] With LEADER communication mode, only leader rank is "
                f"expected to call {method}"
            )

    def _loop(self) -> None:
        while not self._is_ending or self._active:
            self._end_marked()
            failure = self._failure()
            if failure is not None:
                self._end_active(f"Encountered an error in forwardAsync function: {failure}")
            self._take_events()
            self._fetch()
            self._count()
            with self._changed:
                if self._active and not self._events:
                    self._changed.wait(STEP_SECONDS)
                elif not self._active:
                    self._changed.wait_for(lambda: self._queue or self._is_ending)

    def _end_marked(self) -> None:
        """Only what is active is looked at; the mark of what waits stays."""
        with self._changed:
            marked = [self._active[number] for number in self._marked & set(self._active)]
            self._marked -= {each.number for each in marked}
        for active in marked:
            active.is_cancelled = True
            for sequence in range(active.sequences):
                self._model.cancel(active.name(sequence))

    def _failure(self) -> str | None:
        if not self._active:
            return None
        lasting, once = self._engine / "forward_error", self._engine / "forward_error_once"
        for path in (lasting, once):
            if path.exists() and (text := path.read_text(encoding="utf-8")):  # written by now
                if path is once:
                    path.unlink()
                return text
        return None

    def _end_active(self, error: str) -> None:
        for active in list(self._active.values()):
            del self._active[active.number]
            for sequence in range(active.sequences):
                active.is_cancelled = active.ended[sequence] = True
                self._model.cancel(active.name(sequence))
            # A child's number is its own, and known to nobody.
            for number in [active.number, *(10**9 + each for each in range(1, active.sequences))]:
                self._respond(number, active, error)

    def _take_events(self) -> None:
        if not self._events:
            return
        with self._changed:  # one wake-up for all of a step
            for _ in range(len(self._events)):
                active, sequence, event = self._events.popleft()
                if active.number in self._active:
                    self._take(active, sequence, event)

    def _take(self, active: _Active, sequence: int, event: TokenEvent) -> None:
        streaming = active.request.streaming
        active.ended[sequence] = event.is_final
        is_final = all(active.ended)
        if event.error is not None:
            del self._active[active.number]
            self._respond(active.number, active, f"Encountered an error: {event.error}")
            return
        beams = event.output_ids
        if streaming and len(beams) == 1:
            active.counts[sequence] += len(beams[0])
        else:
            active.counts[sequence] = max(map(len, beams))
        if event.is_final or (streaming and any(beams)):
            self._respond(
                active.number, active, self._result(active, sequence, event, is_final=is_final)
            )
        if is_final:
            del self._active[active.number]

    def _result(self, active: _Active, sequence: int, event: TokenEvent, *, is_final: bool) -> Any:
        request, beams = active.request, event.output_ids
        reasons = BOUND["FinishReason"]
        returned = request.sampling_config.num_return_sequences
        if active.beam_width > 1 and returned:
            beams = beams[:returned]
        reason = reasons.NOT_FINISHED
        if active.is_cancelled:
            beams, reason = [[] for _ in beams], reasons.CANCELLED
        elif event.is_final:
            reason = self._reason(active, event)
        if not request.streaming and not request.output_config.exclude_input_from_output:
            beams = [[*active.prompt, *tokens] for tokens in beams]
        result = BOUND["Result"](
            is_final=is_final,
            is_sequence_final=event.is_final,
            sequence_index=sequence,
            output_token_ids=beams,
            finish_reasons=[reason] * len(beams),
            decoding_iter=active.counts[sequence],
        )
        result.context_logits = active.context_logits
        if event.log_probs is not None and request.output_config.return_log_probs:
            result.log_probs = [list(each.tokens) for each in event.log_probs[: len(beams)]]
            result.cum_log_probs = [each.cumulative for each in event.log_probs[: len(beams)]]
        if event.perf_metrics is not None and request.output_config.return_perf_metrics:
            result.request_perf_metrics = perf_metrics(event)
        return result

    def _reason(self, active: _Active, event: TokenEvent) -> Any:
        reasons = BOUND["FinishReason"]
        request, last = active.request, event.output_ids[0]
        if event.finish_reasons is not None and event.finish_reasons[0] == "length":
            return reasons.LENGTH
        for word in request.stop_words or []:
            if last[-len(word) :] == word or (len(word) > len(last) > 0 and last[-1] == word[-1]):
                return reasons.STOP_WORDS
        return reasons.END_ID

    def _respond(self, number: int, active: _Active, content: Any) -> None:
        response = Response(number, content, active.request.client_id)
        with self._changed:
            self._responses.setdefault(number, []).append(response)
            self._ready.notify()

    def _fetch(self) -> None:
        """Begin what fits; who wants another beam width than those that run waits for their end."""
        while True:
            with self._changed:
                if not self._queue or self._is_ending:
                    return
                head = self._queue[0]
                if head is None:
                    self._queue.popleft()
                    self._is_ending = True
                    self._ready.notify_all()
                    return
                number, request = head
                sampling = request.sampling_config
                sequences = (sampling.num_return_sequences or 1) if sampling.beam_width == 1 else 1
                used = sum(each.sequences for each in self._active.values())
                widths = {each.beam_width for each in self._active.values()}
                if used + sequences > self._max_active or widths - {sampling.beam_width}:
                    return
                self._queue.popleft()
            self._ranks.tell(("fetched", number))
            self._begin(number, request, sequences)

    def _begin(self, number: int, request: Any, sequences: int) -> None:
        active = _Active(number, request, sequences, request.input_token_ids)
        active.counts, active.ended = [0] * sequences, [False] * sequences
        try:
            self._validate(request)
            if request.sampling_config.beam_width > self._config["max_beam_width"]:
                self._active[number] = active
                self._end_active(
                    "Encountered an error in forwardAsync function: [TensorRT-LLM][ERROR] "
                    "Assertion failed: Requested beam width is larger than configured max beam "
                    "width"
                )
                return
            if request.output_config.return_context_logits:
                active.context_logits = self._context_logits(request)
            self._cached_prompts.add((request.cache_salt_id, tuple(request.input_token_ids)))
            self._active[number] = active
            for sequence in range(sequences):
                self._model.start(
                    engine_request(request, active.name(sequence), sequence),
                    partial(self._note, active, sequence),
                )
        except Exception as error:
            self._active.pop(number, None)
            text = f"Encountered an error when fetching new request: {error}"
            self._respond(number, active, text)

    def _context_logits(self, request: Any) -> Any:
        """Return them with padding; of what another request's cache already has there are none."""
        import torch

        if not self._limits.get("gather_context_logits"):
            raise RuntimeError(
                "[TensorRT-LLM][ERROR] Assertion failed: Return context logit need to build engine "
                "with gather_context_logits (/src/tensorrt_llm/cpp/tensorrt_llm/executor/"
                "executorImpl.cpp:1)"
            )
        prompt = request.input_token_ids
        logits = self._model.context_logits(prompt)
        logits = torch.nn.functional.pad(logits, (0, VOCABULARY_PADDING), value=1e4)
        if (
            self._config["kv_cache_config"].enable_block_reuse
            and (request.cache_salt_id, tuple(prompt)) in self._cached_prompts
        ):
            logits[: len(prompt) - 1] = 0
        return logits

    def _validate(self, request: Any) -> None:
        length, longest = len(request.input_token_ids), self._limits["max_seq_len"] - 1
        if not self._config["enable_chunked_context"]:
            longest = min(longest, self._limits["max_num_tokens"])
        if length > longest:
            raise RuntimeError(
                f"[TensorRT-LLM][ERROR] Prompt length ({length}) exceeds maximum input length "
                f"({longest}). Set log level to info and check TRTGptModel logs for how maximum "
                "input length is set (/src/tensorrt_llm/cpp/llmRequest.cpp:1)\n1 0x7f stack trace"
            )
        if request.end_id is not None and not -1 <= request.end_id < self._vocab_size:
            raise RuntimeError(f"EndId ({request.end_id}) is not within acceptable range")
        if request.sampling_config.no_repeat_ngram_size == 0:
            raise RuntimeError("Incorrect sampling config")
        if request.guided_decoding_params and not self._config["guided_decoding_config"]:
            raise RuntimeError(
                "Request is specified with GuidedDecodingParams, but GuidedDecoder is not setup."
            )

    def _note(self, active: _Active, sequence: int, event: TokenEvent) -> None:
        is_first = not self._events
        self._events.append((active, sequence, event))
        if is_first:  # otherwise the loop has been woken
            with self._changed:
                self._changed.notify()

    def _count(self) -> None:
        """Add to the statistics, unless nothing runs: then the newest stay the newest."""
        now = self._model.statistics()
        if now.iterations == self._iterations and self._active:
            return
        if not self._active and self._statistics and not self._statistics[-1].num_active_requests:
            return
        self._iterations = now.iterations
        stats = BOUND["IterationStats"](
            timestamp=datetime.datetime.now().strftime("%m-%d-%Y %H:%M:%S.%f"),
            iter=now.iterations,
            num_active_requests=len(self._active),
            num_queued_requests=len(self._queue),
            max_num_active_requests=self._max_active,
            gpu_mem_usage=1 << 30,
            pinned_mem_usage=1 << 20,
            kv_cache_stats=BOUND["KvCacheStats"](
                max_num_blocks=now.kv_cache_blocks_max,
                used_num_blocks=now.kv_cache_blocks_used,
                free_num_blocks=now.kv_cache_blocks_max - now.kv_cache_blocks_used,
                tokens_per_block=now.kv_cache_tokens_per_block,
                reused_blocks=now.kv_cache_blocks_reused,
            ),
            inflight_batching_stats=BOUND["InflightBatchingStats"](
                num_scheduled_requests=len(self._active),
                num_context_requests=now.context,
                num_gen_requests=len(self._active) - now.context,
                num_ctx_tokens=now.context_tokens,
            ),
        )
        with self._changed:
            self._statistics.append(stats)


def perf_metrics(event: TokenEvent) -> Any:
    """Return the metrics of an event as the bindings have them."""
    found = event.perf_metrics
    assert found is not None
    metrics = BOUND["RequestPerfMetrics"]
    return metrics(
        timing_metrics=metrics.TimingMetrics(
            arrival_time=_since_boot(found.arrival_time_ns),
            first_scheduled_time=_since_boot(found.first_scheduled_time_ns),
            first_token_time=_since_boot(found.first_token_time_ns),
            last_token_time=_since_boot(found.last_token_time_ns),
        ),
        kv_cache_metrics=metrics.KvCacheMetrics(
            num_total_allocated_blocks=found.kv_cache_alloc_total_blocks,
            num_new_allocated_blocks=found.kv_cache_alloc_new_blocks,
            num_reused_blocks=found.kv_cache_reused_blocks,
        ),
        speculative_decoding=metrics.SpeculativeDecodingMetrics(),
    )


def _since_boot(nanoseconds: int) -> datetime.timedelta:
    return datetime.timedelta(microseconds=nanoseconds // 1000)
