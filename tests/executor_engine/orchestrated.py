"""Opens an engine in orchestrator mode and prints what it says, as JSON; started by mpirun.

Arguments: the engine's directory, what is spawned for each of its ranks.
"""

import json
import sys
from pathlib import Path

from executor_engine.step import open_engine
from support.engine_harness import Replies, ask, request
from support.rehearsal import STAND_INS

PROMPT = [3, 1, 4, 1, 5]


def main() -> None:
    """Ask for a reply, a stream and a cancelled stream."""
    sys.path.insert(0, str(STAND_INS))
    directory, worker = map(Path, sys.argv[1:])
    parameters = {"gpt_model_path": str(directory), "executor_worker_path": str(worker)}
    engine = open_engine(parameters, directory)
    whole = ask(engine, request(PROMPT, 12))[0]
    stream, cancelled = Replies(), Replies()
    asked = request(PROMPT, 12, streaming=True, return_perf_metrics=True)
    engine.submit(asked, stream)
    engine.submit(request(PROMPT, 400, request_id="long", streaming=True), cancelled)
    cancelled.next()
    engine.cancel("long")
    found = {
        "whole": whole,
        "streamed": stream.streamed(),
        "cancelled": cancelled.final().finish_reasons,
    }
    engine.shutdown()
    sys.stdout.write(f"{json.dumps(found)}\n")


if __name__ == "__main__":
    main()
