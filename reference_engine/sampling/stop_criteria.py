"""When a sequence ends."""

from engine_step.interface import EngineRequest


class StopCriteria:
    """The end id, the stop words and the token limit of one request."""

    def __init__(self, request: EngineRequest, max_new_tokens: int) -> None:
        self.max_new_tokens = max_new_tokens
        self._end_id = request.end_id
        self._stop_words = request.stop_words
        # How many of the last tokens `matches_stop_word` must be shown.
        self.window = max((len(word) for word in request.stop_words), default=0)

    @property
    def num_endings(self) -> int:
        """How many tokens can at most end a sequence at a given place, the limit aside."""
        return (self._end_id >= 0) + len(self._stop_words)

    def is_end(self, token: int) -> bool:
        """Say whether `token` is the end id."""
        return token == self._end_id

    def matches_stop_word(self, tail: list[int]) -> bool:
        """Say whether the tokens end in a stop word, which may begin inside the prompt.

        Source: NVIDIA/TensorRT-LLM, cpp/tensorrt_llm/kernels/stopCriteriaKernels.cu.
        """
        return any(tail[-len(word) :] == word for word in self._stop_words)
