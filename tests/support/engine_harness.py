"""Ways to talk to an engine, and the two oracles its output is compared with."""

import queue
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoModelForCausalLM, LogitsProcessor

from engine_step.interface import EngineRequest, SamplingConfig, TokenEvent
from reference_engine.engine import ReferenceEngine

TIMEOUT_SECONDS = 60


class Replies:
    """The events of one request; pass it as `on_event`."""

    def __init__(self) -> None:
        self._events: queue.Queue[TokenEvent] = queue.Queue()

    def __call__(self, event: TokenEvent) -> None:
        self._events.put(event)

    def next(self) -> TokenEvent:
        return self._events.get(timeout=TIMEOUT_SECONDS)

    def all(self) -> list[TokenEvent]:
        events = [self.next()]
        while not events[-1].is_final:
            events.append(self.next())
        return events

    def final(self) -> TokenEvent:
        return self.all()[-1]

    def beams(self) -> list[list[int]]:
        final = self.final()
        assert final.error is None, final.error
        return final.output_ids

    def streamed(self) -> list[int]:
        events = self.all()
        assert events[-1].error is None, events[-1].error
        return [token for event in events for token in event.output_ids[0]]


def ask(engine: Any, request: EngineRequest) -> list[list[int]]:
    replies = Replies()
    engine.submit(request, replies)
    return replies.beams()


def request(
    prompt: list[int], length: int = 16, *, request_id: str = "", **fields: Any
) -> EngineRequest:
    """Build a request; fields of `SamplingConfig` and of `EngineRequest` side by side."""
    names = SamplingConfig.__dataclass_fields__
    sampling = SamplingConfig(**{k: v for k, v in fields.items() if k in names})
    rest = {k: v for k, v in fields.items() if k not in names}
    return EngineRequest(request_id, prompt, length, sampling=sampling, **rest)


class _Recorder(LogitsProcessor):  # type: ignore[misc]
    """Keeps every step's scores as they are before temperature, top-k and top-p."""

    def __init__(self) -> None:
        self.scores: list[torch.Tensor] = []

    def __call__(self, _: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        self.scores.append(scores)
        return scores


class Oracle:
    """transformers itself on the same checkpoint, one request at a time."""

    def __init__(self, checkpoint: Path) -> None:
        self.model = AutoModelForCausalLM.from_pretrained(checkpoint).eval()
        self.model.generation_config.eos_token_id = None

    def generate(self, prompt: list[int], length: int, **options: Any) -> list[list[int]]:
        """Return new tokens by sequence, cut before the end id."""
        return self.generate_scored(prompt, length, **options)[0]

    @torch.inference_mode()
    def generate_scored(
        self,
        prompt: list[int],
        length: int,
        *,
        end_id: int = -1,
        bias: np.ndarray[Any, np.dtype[np.float32]] | None = None,
        **options: Any,
    ) -> tuple[list[list[int]], list[list[float]]]:
        """Return what `generate` does and the log-probabilities of the tokens and the end id.

        `bias` is added to the logits of the first tokens of the vocabulary.
        """
        if (seed := options.pop("seed", None)) is not None:
            torch.manual_seed(seed)
        if end_id >= 0:
            options["eos_token_id"] = end_id
        input_ids = torch.tensor([prompt])
        recorder = _Recorder()
        with self._biased(bias):
            output = self.model.generate(
                input_ids,
                # Without it, prompt tokens that happen to be the pad id would be masked.
                attention_mask=torch.ones_like(input_ids),
                max_new_tokens=length,
                pad_token_id=0,
                logits_processor=[recorder],
                return_dict_in_generate=True,
                output_scores=True,
                **options,
            )
        beam_indices = getattr(output, "beam_indices", None)
        log_probs = self.model.compute_transition_scores(
            output.sequences,
            tuple(scores / options.get("temperature", 1.0) for scores in recorder.scores),
            beam_indices,
            normalize_logits=beam_indices is None,
        )
        rows = output.sequences[:, len(prompt) :].tolist()
        cut = [row[: row.index(end_id)] if end_id in row else row for row in rows]
        return cut, log_probs.tolist()

    @contextmanager
    def _biased(self, bias: np.ndarray[Any, np.dtype[np.float32]] | None) -> Iterator[None]:
        def add(_: object, __: object, logits: torch.Tensor) -> None:
            if bias is not None:
                logits[..., : len(bias)] += torch.from_numpy(bias)

        hook = self.model.lm_head.register_forward_hook(add)
        yield
        hook.remove()

    @torch.inference_mode()
    def plain_loop(
        self,
        prompt: list[int],
        length: int,
        *,
        adjust: Callable[[list[int], list[float]], list[float]],
        is_last: Callable[[list[int]], bool] = lambda _: False,
    ) -> list[int]:
        """Greedy loop without a cache: `adjust(tokens, logits)`, take the best, `is_last(new)`."""
        tokens = list(prompt)
        while len(tokens) < len(prompt) + length:
            logits = self.model(torch.tensor([tokens])).logits[0, -1].tolist()
            logits = adjust(tokens, logits)
            tokens.append(max(range(len(logits)), key=logits.__getitem__))
            if is_last(tokens[len(prompt) :]):
                break
        return tokens[len(prompt) :]


@dataclass
class Served:
    """An engine with 16 rows and beams up to 4, and transformers on the same checkpoint."""

    engine: ReferenceEngine
    oracle: Oracle
