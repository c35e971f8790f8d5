"""What this distribution adds to the command `aeolus` (entry points `aeolus.commands`).

Each takes the arguments behind its name and returns the exit code; its docstring is its line in
`aeolus --help`. What a command runs is imported when it runs: some of it takes seconds.
"""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec

PROGRAM = "aeolus"


@contextmanager
def _extra(name: str, *imported_later: str) -> Iterator[None]:
    """Say which extra of the distribution has the module that is missing, if one is."""
    try:
        for module in imported_later:
            if find_spec(module) is None:
                raise ModuleNotFoundError(name=module)
        yield
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"error: {error.name} is not installed: pip install 'aeolus[{name}]'"
        ) from error


def serve(arguments: list[str]) -> int:
    """Serve models: a tritonserver and the shim in front of it."""
    with _extra("server", "fastapi", "uvicorn"):
        from launcher.serve import main

    return main(arguments, f"{PROGRAM} serve")


def shim(arguments: list[str]) -> int:
    """Serve in front of Tritons that run elsewhere."""
    from launcher.signals import run_below_init

    with _extra("server"):
        from shim.__main__ import main

    run_below_init()
    return main(arguments, f"{PROGRAM} shim")


def plan(arguments: list[str]) -> int:
    """Compute memory, capacity and disk of an engine."""
    return _build_engines("plan", arguments)


def fetch(arguments: list[str]) -> int:
    """Download a Hugging Face checkpoint."""
    with _extra("build"):
        return _build_engines("fetch", arguments)


def convert(arguments: list[str]) -> int:
    """Make the TensorRT-LLM checkpoint, one file per rank."""
    return _build_engines("convert", arguments)


def build(arguments: list[str]) -> int:
    """Run trtllm-build; needs the GPU and TensorRT-LLM."""
    return _build_engines("build", arguments)


def prepare(arguments: list[str]) -> int:
    """Fetch, convert and build a model's engine; what is there is kept."""
    from launcher.signals import run_below_init

    run_below_init()
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    with _extra("build"):
        return _build_engines("prepare", arguments)


def assemble(arguments: list[str]) -> int:
    """Write the model repository that serves an engine."""
    return _build_engines("assemble", arguments)


def verify(arguments: list[str]) -> int:
    """Check a TensorRT-LLM checkpoint or engine."""
    with _extra("models"):
        return _build_engines("verify", arguments)


def docs(arguments: list[str]) -> int:
    """Print the command lines of every engine of the catalog."""
    return _build_engines("docs", arguments)


def _build_engines(command: str, arguments: list[str]) -> int:
    from build_engines.__main__ import main

    return main([command, *arguments], PROGRAM)
