"""What a caller is told of results that come together."""

from typing import Any

from engine_step.interface import TokenEvent
from executor_engine.bindings import load_bindings
from executor_engine.live_request import LiveRequest
from support.engine_harness import request


def results(*outputs: list[list[int]], **last: Any) -> list[Any]:
    """Results of the stand-in's class; `last` has further values of the last one."""
    bindings = load_bindings()
    unfinished, ended = bindings.FinishReason.NOT_FINISHED, bindings.FinishReason.END_ID
    made = [
        bindings.Result(output_token_ids=each, finish_reasons=[unfinished] * len(each))
        for each in outputs
    ]
    made[-1].is_final = True
    made[-1].finish_reasons = [ended] * len(outputs[-1])
    for name, value in last.items():
        setattr(made[-1], name, value)
    return made


def told(found: list[Any], **fields: Any) -> list[TokenEvent]:
    events: list[TokenEvent] = []
    LiveRequest(request([1, 2], 9, **fields), events.append).take(found)
    return events


def test_tokens_of_a_stream_that_come_together_are_one_event() -> None:
    (event,) = told(results([[7]], [[8, 9]], [[]]), streaming=True)
    assert (event.output_ids, event.is_final, event.num_generated) == ([[7, 8, 9]], True, 3)
    assert event.finish_reasons == ["stop"]


def test_each_token_with_its_log_probability_is_an_event_of_its_own() -> None:
    found = results([[7]], [[8]])
    for count, each in enumerate(found, start=1):
        each.log_probs, each.cum_log_probs = [[-0.5] * count], [-0.5 * count]
    events = told(found, streaming=True, return_log_probs=True)
    assert [event.output_ids for event in events] == [[[7]], [[8]]]
    assert [event.log_probs[0].tokens for event in events if event.log_probs] == [
        [-0.5],
        [-0.5, -0.5],
    ]


def test_beams_that_a_cancellation_has_erased_are_those_before_it() -> None:
    (event,) = told(results([[7], [8]], [[7, 1], [8, 2]], [[], []]), beam_width=2)
    assert event.output_ids == [[7, 1], [8, 2]]
    assert event.num_generated == 4
