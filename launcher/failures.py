"""What the log of a tritonserver, or of the mpirun above several, says about an end."""

import re
import signal
from pathlib import Path

# The log writes a line break inside a message as the two characters \\n; what follows the first
# is the Python traceback.
MODEL_FAILURE = re.compile(
    r"failed to load '(?P<model>[^']+)' version \d+: (?P<reason>.*?)(?:\\n|\"$|$)", re.MULTILINE
)
LOGGED_ERROR = re.compile(r"^(?:E\d{4} .*\] |error: )(?P<reason>.*)$", re.MULTILINE)
HARMLESS = re.compile(r"CudaDriverHelper|NVML|DCGM|CUDA driver version|no CUDA-capable device")
"""Errors that a tritonserver logs on each machine without a GPU."""
# libevent, which serves HTTP, and the shell that starts the stubs of the Python backend.
OTHER_ERROR = re.compile(
    r"^\[err\] (?:\S+: )?(?P<event>.*)$|^\S*sh: line \d+: (?P<shell>.*)$", re.MULTILINE
)
# Open MPI 4.1 (orte/tools/orterun help texts).
RANK_BY_SIGNAL = re.compile(
    r"process rank (?P<rank>\d+) with PID \d+ .*exited\s+on signal (?P<signal>\d+)"
)
RANK_BY_STATUS = re.compile(
    r"Process name: \[\[\d+,\d+\],(?P<rank>\d+)\]\s+Exit code:\s+(?P<status>\d+)"
)


def reason_of_failed_start(log_path: Path) -> str:
    """Return why a server has ended before it was ready, and where its log is."""
    if failed := reason_of_failed_models(log_path):
        return failed
    reasons = causes(log_path) or logged_errors(log_path) or ["its log names no reason"]
    return f"{'; '.join(reasons)} (log: {log_path})"


def causes(log_path: Path) -> list[str]:
    """Return the errors in a log that are not logged on every machine without a GPU."""
    log = log_path.read_text(errors="replace")
    found = [each for each in logged_errors(log_path) if not HARMLESS.search(each)]
    found += [match["event"] or match["shell"] for match in OTHER_ERROR.finditer(log)]
    return list(dict.fromkeys(found))


def logged_errors(log_path: Path) -> list[str]:
    """Return what a server has logged as errors."""
    log = log_path.read_text(errors="replace")
    return list(dict.fromkeys(match["reason"] for match in LOGGED_ERROR.finditer(log)))


def reason_of_failed_models(log_path: Path) -> str | None:
    """Return which models have failed to load, and why; None if none has yet."""
    log = log_path.read_text(errors="replace")
    failures = {match["model"]: match["reason"] for match in MODEL_FAILURE.finditer(log)}
    if not failures:
        return None
    reasons = "; ".join(f"model '{name}': {why}" for name, why in failures.items())
    return f"{reasons} (log: {log_path})"


def reason_of_lost_rank(log_path: Path) -> str | None:
    """Return which rank has ended, and how, where Open MPI has reported it."""
    log = log_path.read_text(errors="replace")
    if match := RANK_BY_SIGNAL.search(log):
        return f"rank {match['rank']} was ended by {signal.Signals(int(match['signal'])).name}"
    if match := RANK_BY_STATUS.search(log):
        return f"rank {match['rank']} has ended with exit status {match['status']}"
    return None
