"""The process that compiles guides on trial: `trial_worker DESCRIPTOR TOKENIZER_DIR BYTES PARENT`.

It answers each guide with what an engine is to be given, or with the reason why nothing is. Whoever
started it kills it where that takes too long; memory beyond the limit ends it or is the reason.
"""

import os
import resource
import sys
import threading
from multiprocessing.connection import Connection
from pathlib import Path

import numpy as np

from aeolus_contract.interpreter import die_with_parent
from guided_decoding.grammar import Grammars
from guided_decoding.guide import Guide, GuideError
from guided_decoding.vocabulary import Vocabulary

NICENESS = 10
MAX_TOKENS = 256
STACK_BYTES = 1 << 20
"""An eighth of what an engine's thread has: the compiler calls itself for each bracket."""


def main() -> None:
    """Compile the guides that come over the connection until it ends."""
    descriptor, tokenizer_dir, max_bytes, parent = sys.argv[1:]
    die_with_parent(int(parent))
    os.nice(NICENESS)
    with Connection(int(descriptor)) as connection:
        try:
            grammars = Grammars(Vocabulary.load(Path(tokenizer_dir)), max_cache_bytes=0)
        except GuideError as error:
            connection.send(str(error))
            return
        connection.send("")
        _limit_memory(int(max_bytes))
        threading.stack_size(STACK_BYTES)
        thread = threading.Thread(target=_answer_all, args=(connection, grammars))
        thread.start()
        thread.join()


def _answer_all(connection: Connection, grammars: Grammars) -> None:
    while True:
        try:
            guide: Guide = connection.recv()
        except EOFError:
            return
        connection.send(_outcome(grammars, guide))


def _outcome(grammars: Grammars, guide: Guide) -> Guide | str:
    try:
        limited = grammars.as_json_grammar(guide)
        follow(grammars, limited)
    except GuideError as error:
        return str(error)
    except MemoryError:
        return "takes too much memory to compile; make it smaller or simpler"
    return limited


def follow(grammars: Grammars, guide: Guide) -> None:
    """Compile a guide, and follow it along tokens drawn from those that may come.

    Raises:
        GuideError: it has no grammar, takes too long, or comes to where no token may follow.
    """
    follower = grammars.follow(grammars.compile(guide), grammars.end_ids)
    draw = np.random.default_rng(0)
    for _ in range(MAX_TOKENS):
        allowed = np.flatnonzero(follower.allowed())
        if not allowed.size:
            raise GuideError("comes to a point where no token of this model may follow")
        tokens = allowed[~np.isin(allowed, grammars.end_ids)]
        if not tokens.size:
            return
        follower.accept(int(draw.choice(tokens)))


def _limit_memory(max_bytes: int) -> None:
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
    limit = pages * resource.getpagesize() + max_bytes
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))


if __name__ == "__main__":
    main()
