"""Random requests for tokens, whose answer is the same every time."""

import random
import uuid
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import tritonclient.grpc.aio as triton

from scripts.bench.traffic.triton_call import Array, engine_call, infer_inputs, stop_call

VOCAB_SIZE = 2048
SHARED_PREFIX = list(range(300, 396))
"""Of a third of the prompts: three blocks to reuse."""


class LostError(Exception):
    """An answer did not come, or came as an error."""


@dataclass
class TokenCase:
    """A request to `tensorrt_llm`, and its beams when it ran alone."""

    inputs: dict[str, Array]
    beam_width: int
    expected: list[list[int]] = field(default_factory=list)

    async def run(self, address: str, way: str, after: int, streaming: bool) -> list[list[int]]:
        """Send it; leave in the given way after so many responses. Returns what has come."""
        request_id = uuid.uuid4().hex
        inputs = infer_inputs(self.inputs | {"streaming": np.array([[streaming]])})
        beams: list[list[int]] = [[] for _ in range(self.beam_width)]
        async with triton.InferenceServerClient(address) as client:
            responses = client.stream_infer(engine_call(inputs, request_id))
            number = 0
            async for result, error in responses:
                if error is not None:
                    raise LostError(str(error))
                new = _beams(result)
                grows = streaming and self.beam_width == 1
                beams = [beams[0] + new[0]] if grows else new
                number += 1
                if number == after and way == "stops":
                    async for _ in client.stream_infer(stop_call(request_id)):
                        pass
                if number >= after and way == "cancels":
                    responses.cancel()
                    break
                if number >= after and way == "hangs up":
                    break
        return beams

    def is_answered_by(self, beams: list[list[int]], left: bool) -> bool:
        """Say whether `beams` are those of the lone run, or as far as they had come."""
        if not left:
            return beams == self.expected
        return self.beam_width > 1 or beams[0] == self.expected[0][: len(beams[0])]


def token_case(rng: random.Random) -> TokenCase:
    """Return a random request whose answer is the same every time."""
    length = rng.choice([1, 5, 20, 60, 200, 700])
    prompt = [rng.randrange(VOCAB_SIZE) for _ in range(length)]
    if rng.random() < 1 / 3:
        prompt = SHARED_PREFIX + prompt
    values: dict[str, Any] = {"request_output_len": rng.randint(1, 96)}
    beam_width = 1
    match rng.choice(["greedy", "greedy", "greedy", "seeded", "beams"]):
        case "seeded":
            values["seed"] = np.uint64(rng.getrandbits(32))
            values["temperature"] = rng.choice([0.5, 1.0, 1.7])
            values["runtime_top_k"] = rng.choice([0, 3, 40])
            values["runtime_top_p"] = rng.choice([0.5, 0.9, 1.0])
        case "beams":
            beam_width = rng.choice([2, 3, 4])
            values["beam_width"] = beam_width
            values["len_penalty"] = rng.choice([0.0, 1.0, 1.5])
            values["early_stopping"] = rng.choice([0, 1, 2])
    more = {
        "repetition_penalty": rng.choice([0.8, 1.2]),
        "frequency_penalty": 0.3,
        "no_repeat_ngram_size": 3,
        "min_tokens": 5,
        "return_log_probs": True,
        "return_perf_metrics": True,
        "end_id": rng.randrange(VOCAB_SIZE),
        "bad_words_list": _words(rng),
        "stop_words_list": _words(rng),
        "embedding_bias": np.array([[rng.random() for _ in range(VOCAB_SIZE)]], np.float32),
    }
    values |= {name: value for name, value in more.items() if rng.random() < 0.15}
    inputs = {"input_ids": np.array([prompt], np.int32), "input_lengths": _scalar(len(prompt))}
    return TokenCase(inputs | {name: _scalar(value) for name, value in values.items()}, beam_width)


def _beams(result: Any) -> list[list[int]]:
    ids, lengths = result.as_numpy("output_ids")[0], result.as_numpy("sequence_length")[0]
    return [row[:length].tolist() for row, length in zip(ids, lengths, strict=True)]


def _scalar(value: Any) -> Array:
    """Return [1, 1] of the type that the tensor has; arrays as they are."""
    if isinstance(value, np.ndarray):
        return value
    dtypes = {bool: np.bool_, int: np.int32, float: np.float32, np.uint64: np.uint64}
    return np.array([[value]], dtype=dtypes[type(value)])


def _words(rng: random.Random) -> Array:
    ids = [rng.randrange(VOCAB_SIZE) for _ in range(3)]
    return np.array([[ids, [1, 3, -1]]], np.int32)
