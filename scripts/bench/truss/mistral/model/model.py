"""Mistral by transformers: what a Truss of it does, whole and streamed."""

from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from typing import Any

from transformers import AutoModelForCausalLM, AutoTokenizer, TextIteratorStreamer


class Model:
    """What the Truss server loads, and asks for one prediction at a time."""

    def __init__(self, data_dir: Path):
        """Take the directory of the checkpoint."""
        self._checkpoint = data_dir
        self._tokenizer: Any = None
        self._model: Any = None

    def load(self) -> None:
        """Load the checkpoint in its own precision."""
        self._tokenizer = AutoTokenizer.from_pretrained(self._checkpoint)
        self._model = AutoModelForCausalLM.from_pretrained(self._checkpoint, dtype="auto").eval()
        self._model.generation_config.pad_token_id = self._tokenizer.eos_token_id

    def predict(self, request: dict[str, Any]) -> str | Iterator[str]:
        """Continue `prompt` with what else is given to `generate`.

        Returns:
            Prompt and continuation; with `stream`, the continuation as it comes.
        """
        prompt, is_streamed = request.pop("prompt"), request.pop("stream", False)
        arguments = {**self._tokenizer(prompt, return_tensors="pt"), **request}
        if is_streamed:
            return self._stream(arguments)
        text: str = self._tokenizer.decode(self._model.generate(**arguments)[0])
        return text

    def _stream(self, arguments: dict[str, Any]) -> Iterator[str]:
        streamer = TextIteratorStreamer(self._tokenizer, skip_prompt=True, skip_special_tokens=True)
        thread = Thread(target=self._model.generate, kwargs={**arguments, "streamer": streamer})
        thread.start()
        yield from streamer
        thread.join()
