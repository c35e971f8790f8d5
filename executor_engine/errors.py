"""The executor's error texts, and what they mean for a caller."""

import re

from engine_step.interface import QueueFullError, RequestRefusedError

FETCHING = "Encountered an error when fetching new request: "
STEPS = ("Encountered an error in forwardAsync function", "Encountered an error in forwardSync")
QUEUE_FULL = "Maximum queue size"
NOISE = re.compile(r"^(\[TensorRT-LLM\]\[ERROR\] |Assertion failed: )*")
LOCATION = re.compile(r" \(/\S+:\d+\)$")


class FailedStepError(RuntimeError):
    """A step of the engine has failed, and every request in it with it."""


def is_failed_step(text: str) -> bool:
    """Say whether an error is of the whole batch; its requests were not to blame, except one."""
    return text.startswith(STEPS)


def error_of(text: str) -> Exception:
    """Return what an error response, or an exception of the executor, is for its caller."""
    if QUEUE_FULL in text:
        return QueueFullError(first_line(text))
    if text.startswith(FETCHING):
        return RequestRefusedError(first_line(text.removeprefix(FETCHING)))
    if is_failed_step(text):
        return FailedStepError(f"a step of the engine failed: {first_line(text)}")
    return RuntimeError(first_line(text))


def first_line(text: str) -> str:
    """Return the text without the C++ location and the stack trace behind it."""
    line = NOISE.sub("", (text.splitlines() or [""])[0])
    _, step, cause = line.partition(" function: ")
    if step:
        line = NOISE.sub("", cause)
    return LOCATION.sub("", line)
