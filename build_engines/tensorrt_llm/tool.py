"""One run of one of NVIDIA's command line tools: its log kept, its failure explained."""

import os
import re
import signal
import subprocess
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

LOG_TAIL_LINES = 5


class ToolError(RuntimeError):
    """A tool failed; the text says why as far as its log tells, and where the log is."""


@dataclass(frozen=True, slots=True)
class Symptom:
    """What a log says, and what it means."""

    pattern: re.Pattern[str]
    explanation: str


def _symptom(pattern: str, explanation: str) -> Symptom:
    return Symptom(re.compile(pattern, re.IGNORECASE), explanation)


SYMPTOMS = (
    _symptom(
        r"no space left on device",
        "the disk is full; free some of it or choose an output on another",
    ),
    _symptom(
        r"cuda out of memory|cudaErrorMemoryAllocation|outofmemory|out of memory",
        "the GPU's memory was not enough; end what else uses it, or plan a smaller "
        "max_num_tokens or max_batch_size",
    ),
    _symptom(
        r"cuda driver version is insufficient|no cuda-capable device|cuda_error_no_device",
        "the container does not reach the GPU; start it with --gpus all on a recent driver",
    ),
    _symptom(
        r"KeyError: '\w+ForCausalLM'",
        "this TensorRT-LLM does not know the checkpoint's architecture; it is another release",
    ),
    _symptom(
        r"required but not provided tensors",
        "the checkpoint lacks tensors; verify it, and convert again",
    ),
    _symptom(
        r"unrecognized arguments|invalid choice",
        "this release of the tool has other options than the catalog's; check its version",
    ),
    _symptom(
        r"read-only file system|permission denied",
        "a directory cannot be written",
    ),
)


def log_path(output: Path) -> Path:
    """Where the log of the run that writes `output` is kept."""
    return output.with_name(f"{output.name}.log")


def run_tool(
    command: list[str],
    log: Path,
    directory: Path,
    on_line: Callable[[str], None] = lambda _: None,
    environment: Mapping[str, str] | None = None,
) -> None:
    """Run a command to its end; its whole process group ends with an interruption of ours.

    Args:
        command: program and arguments, with absolute paths.
        log: file that keeps everything it prints; begins with the command.
        directory: working directory; tools write caches into it.
        on_line: called with each line as it is printed.
        environment: the variables of the process; by default ours.

    Raises:
        ToolError: it cannot be started, or ended with another code than 0.
    """
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w", encoding="utf-8") as file:
        print("$", *command, file=file, flush=True)
        try:
            process = subprocess.Popen(  # noqa: S603 - our own command line
                command,
                cwd=directory,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
                start_new_session=True,
            )
        except OSError as error:
            raise ToolError(f"{command[0]} cannot be started: {error.strerror}") from error
        with process:
            try:
                for line in process.stdout or ():
                    file.write(line)
                    file.flush()
                    on_line(line.rstrip("\n"))
            except BaseException:
                os.killpg(process.pid, signal.SIGTERM)
                raise
    if process.returncode != 0:
        raise ToolError(_explain(command[0], process.returncode, log))


def _explain(tool: str, code: int, log: Path) -> str:
    """Say why a tool failed: what its log shows, else its last lines."""
    text = log.read_text(encoding="utf-8", errors="replace")
    if code in (-signal.SIGKILL, 128 + signal.SIGKILL):
        reason = "it was killed, most likely because the host's memory was used up"
    else:
        known = (each.explanation for each in SYMPTOMS if each.pattern.search(text))
        reason = next(known, "its last lines: " + " | ".join(_last_lines(text)))
    return f"{Path(tool).name} failed with code {code}: {reason} (log: {log})"


def _last_lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()][-LOG_TAIL_LINES:]
