"""Text in, text out, without Triton: the front door for scripts and experiments."""

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Self

from aeolus_contract.checkpoint import eos_token_ids
from engine_step.interface import EngineRequest, SamplingConfig, TokenEvent
from reference_engine.config import EngineConfig
from reference_engine.engine import ReferenceEngine

GREEDY = SamplingConfig(top_k=1)


class Engine:
    """A checkpoint that continues texts.

    Args:
        checkpoint_dir: a Hugging Face checkpoint with its tokenizer.
        limits: see `EngineConfig.resolve`.

    Raises:
        CheckpointError: the checkpoint cannot be served.
        ValueError: the limits contradict each other or the model.
    """

    def __init__(self, checkpoint_dir: str | Path, **limits: Any) -> None:
        # Only here: importing transformers takes longer than the rest of a server's start.
        from transformers import AutoTokenizer

        self._tokenizer = AutoTokenizer.from_pretrained(checkpoint_dir, local_files_only=True)
        self._end_ids = eos_token_ids(Path(checkpoint_dir))
        self._engine = ReferenceEngine(EngineConfig.resolve(checkpoint_dir, **limits))

    def generate(
        self,
        prompts: Sequence[str],
        *,
        max_new_tokens: int = 64,
        sampling: SamplingConfig = GREEDY,
    ) -> list[str]:
        """Continue every prompt, all in one batch.

        Returns:
            The new text of each prompt, of the best beam.

        Raises:
            RequestRefusedError: a prompt or `sampling` is not what the engine serves.
            EngineStoppedError: the engine was shut down or has failed.
        """
        finals = [_Final() for _ in prompts]
        for prompt, final in zip(prompts, finals, strict=True):
            self._engine.submit(self._request(prompt, max_new_tokens, sampling), final)
        return [
            self._tokenizer.decode(final.output_ids(), skip_special_tokens=True) for final in finals
        ]

    def _request(self, prompt: str, max_new_tokens: int, sampling: SamplingConfig) -> EngineRequest:
        end_id, *others = self._end_ids or [-1]
        return EngineRequest(
            request_id="",
            input_ids=self._tokenizer.encode(prompt),
            request_output_len=max_new_tokens,
            end_id=end_id,
            stop_words=[[token] for token in others],
            sampling=sampling,
        )

    def close(self) -> None:
        """Stop the engine; what it is asked for at the time ends in an error."""
        self._engine.shutdown()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class _Final:
    """Keeps the last event of a request, and lets one wait for it."""

    def __init__(self) -> None:
        self._arrived = threading.Event()
        self._event: TokenEvent | None = None

    def __call__(self, event: TokenEvent) -> None:
        if event.is_final:
            self._event = event
            self._arrived.set()

    def output_ids(self) -> list[int]:
        """Wait for the end; raise the error that it was."""
        self._arrived.wait()
        assert self._event is not None
        if self._event.error is not None:
            raise self._event.error
        return self._event.output_ids[0]
