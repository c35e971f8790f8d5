"""Failures on their way from a step of the ensemble to its client.

Triton reports an error inside a stream only by its text, so the text has to say what kind it is:
`failure_text` writes it, `read_failure` reads it. Forms that only others write are read too.
"""

import re
from dataclasses import dataclass
from enum import Enum


class InvalidRequestError(ValueError):
    """The request cannot be served as it stands; the text says what is wrong and what to do."""


class FailureKind(Enum):
    """What a client can do about a failure."""

    INVALID_REQUEST = "invalid request"
    """Nothing: sending it again will fail again."""
    QUEUE_FULL = "queue full"
    """Send it again later; it was not run."""
    RESTARTING = "restarting"
    """Send it again: the engine is on its way back."""
    NOT_LOADED = "not loaded"
    """Send it again later: the model is loading or unloading."""
    UNKNOWN_MODEL = "unknown model"
    """Ask for another model."""
    STEP_DIED = "step died"
    """Ask another server: this one has lost a process that Triton does not start again."""
    OTHER = "failed"
    """Report it."""

    @property
    def triton_code(self) -> str:
        """The name of the code in `triton_python_backend_utils.TritonError`."""
        return TRITON_CODES.get(self, "INTERNAL")


TRITON_CODES = {
    FailureKind.INVALID_REQUEST: "INVALID_ARG",
    FailureKind.QUEUE_FULL: "UNAVAILABLE",
    FailureKind.RESTARTING: "UNAVAILABLE",
}
WRITTEN = (FailureKind.INVALID_REQUEST, FailureKind.QUEUE_FULL, FailureKind.RESTARTING)
"""The kinds that steps of ours report by their name at the beginning of the text."""
FOREIGN = (
    # The C++ backend (NVIDIA/TensorRT-LLM, cpp/tensorrt_llm/executor/executorImpl.cpp).
    (FailureKind.QUEUE_FULL, re.compile(r"Maximum queue size")),
    # tritonserver (triton-inference-server/core, src/model_repository_manager).
    (FailureKind.NOT_LOADED, re.compile(r"has no available versions")),
    (FailureKind.UNKNOWN_MODEL, re.compile(r"unknown model: '[^']*' is not found")),
    # Triton does not start the process of a Python model again, and goes on to say that it is
    # ready (triton-inference-server/python_backend, src/stub_launcher.cc).
    (FailureKind.STEP_DIED, re.compile(r"Stub process '[^']*' is not healthy")),
)
ENSEMBLE_PREFIX = re.compile(r"^in ensemble '[^']*', ")


@dataclass(frozen=True, slots=True)
class Failure:
    """A failure as a client reads it."""

    kind: FailureKind
    text: str


def failure_text(kind: FailureKind, reason: str) -> str:
    """Return the text by which a step reports a failure."""
    return f"{kind.value}: {reason}" if kind in WRITTEN else reason


def read_failure(text: str) -> Failure:
    """Return what a text that Triton reports says; of an unknown form, `OTHER`."""
    text = ENSEMBLE_PREFIX.sub("", text)
    for kind in WRITTEN:
        if text.startswith(prefix := f"{kind.value}: "):
            return Failure(kind, text.removeprefix(prefix))
    for kind, form in FOREIGN:
        if form.search(text):
            return Failure(kind, text)
    return Failure(FailureKind.OTHER, text)
