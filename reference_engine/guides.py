"""Guides compiled beside the engine's thread, each once."""

import os
import threading
from concurrent.futures import Future, ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

from engine_step.interface import RequestRefusedError
from guided_decoding.grammar import Follower, Grammars
from guided_decoding.guide import Guide, GuideError
from guided_decoding.vocabulary import Vocabulary

MAX_CACHE_BYTES = 64 << 20
NICENESS = 10
MakeFollower = Future["partial[Follower]"]


class Guides:
    """Compiles guides for one checkpoint; the vocabulary is read for the first one."""

    def __init__(self, tokenizer_dir: Path, vocab_size: int) -> None:
        self._tokenizer_dir = tokenizer_dir
        self._vocab_size = vocab_size
        self._grammars: Grammars | None = None
        self._thread = ThreadPoolExecutor(1, "guides", initializer=_leave_cores_to_others)

    def compile(self, guide: Guide, end_id: int, stop_words: list[list[int]]) -> MakeFollower:
        """Return what will make the state of a reply that follows a guide.

        The future raises a RequestRefusedError if there is no grammar for the guide.

        Args:
            guide: what the reply is to match.
            end_id: ends the reply where it matches.
            stop_words: so do those of them that are end ids of the checkpoint.
        """
        return self._thread.submit(self._compile, guide, end_id, stop_words)

    def close(self) -> None:
        """Compile nothing more."""
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _compile(
        self, guide: Guide, end_id: int, stop_words: list[list[int]]
    ) -> "partial[Follower]":
        try:
            if self._grammars is None:
                vocabulary = Vocabulary.load(self._tokenizer_dir, self._vocab_size)
                self._grammars = Grammars(vocabulary, MAX_CACHE_BYTES)
            grammar: Any = self._grammars.compile(guide)
        except GuideError as error:
            raise RequestRefusedError(f"guided_decoding_guide: {error}") from error
        others = [each for each in self._grammars.end_ids if [each] in stop_words]
        return partial(self._grammars.follow, grammar, [end_id, *others])


def _leave_cores_to_others() -> None:
    """On Linux a thread has a niceness of its own."""
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICENESS)
