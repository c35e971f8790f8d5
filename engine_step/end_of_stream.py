"""The end of a stream that fails, said to the steps behind the engine."""

from collections.abc import Callable

from engine_step.interface import PerfMetrics, TokenEvent

Listener = Callable[[TokenEvent], None]


def with_end_of_stream(on_event: Listener) -> Listener:
    """Return a listener to one request that passes events on, and two for an error within it.

    An ensemble hands an error to the client and to no further step. So an event without tokens
    goes before it, with the finish reason `error`, by which postprocessing frees the stream.
    """
    newest: PerfMetrics | None = None

    def listen(event: TokenEvent) -> None:
        nonlocal newest
        if event.error is None:
            newest = event.perf_metrics
        elif newest is not None:
            end = TokenEvent([[]], is_final=False, perf_metrics=newest, finish_reasons=["error"])
            on_event(end)
        on_event(event)

    return listen
