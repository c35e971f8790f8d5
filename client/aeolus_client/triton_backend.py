"""A Triton by gRPC, behind the same interface as a service by REST."""

import json
from collections.abc import AsyncGenerator
from typing import Any

from aeolus_client.backend import ModelInfo, TextRequest
from aeolus_client.errors import InvalidRequestError
from aeolus_client.generation import Completion, GenerationRequest, TextChunk
from aeolus_client.triton import TritonClient, gather
from aeolus_contract.parameters import sampling_parameters

DEFAULT_MODEL = "ensemble"
DEFAULT_MAX_TOKENS = 512
SAMPLING = {
    row.generate.name: row for row in sampling_parameters().values() if row.generate is not None
}
"""The rows of the contract's table by Hugging Face's name."""
AS_THEY_ARE = (
    *("add_generation_prompt", "continue_final_message", "max_length"),
    *("skip_special_tokens", "split_special_tokens"),
)
"""Fields of GenerationRequest under Hugging Face's name."""


class TritonBackend:
    """The ensembles of one Triton, each by its name."""

    def __init__(self, address: str):
        """Connect on first use to `host:port` of Triton's gRPC service."""
        self.address = f"grpc://{address}"
        self._host_and_port = address
        self._clients: dict[str, TritonClient] = {}

    async def complete(self, request: TextRequest) -> Completion:
        """See `Backend`."""
        return await gather(self._client(request.model).stream(generation_request(request)))

    def stream(self, request: TextRequest) -> AsyncGenerator[TextChunk, None]:
        """See `Backend`."""
        return self._client(request.model).stream(generation_request(request, stream=True))

    async def models(self) -> list[ModelInfo]:
        """Return the ensembles asked so far, or NVIDIA's name: Triton's list is not open to all."""
        infos = []
        for name in list(self._clients) or [DEFAULT_MODEL]:
            client = self._client(name)
            infos.append(ModelInfo(name, await client.context_length(), await client.is_ready()))
        return infos

    async def close(self) -> None:
        """Disconnect."""
        for client in self._clients.values():
            await client.close()

    def _client(self, model: str | None) -> TritonClient:
        name = model or DEFAULT_MODEL
        if name not in self._clients:
            self._clients[name] = TritonClient(self._host_and_port, name)
        return self._clients[name]


def generation_request(request: TextRequest, *, stream: bool = False) -> GenerationRequest:
    """Translate Hugging Face's names into the ensemble's.

    Raises:
        InvalidRequestError: a parameter has no tensor; only the service's REST routes take it.
    """
    given = dict(request.parameters)
    fields: dict[str, Any] = {}
    max_tokens = given.pop("max_new_tokens", None) or given.pop("max_tokens", None)
    greedy = given.pop("do_sample", None) is False or given.get("temperature") == 0
    stop = given.pop("stop", None) or given.pop("stop_strings", None)
    if stop is not None:
        fields["stop"] = [stop] if isinstance(stop, str) else list(stop)
    end = given.pop("eos_token_id", None)
    if end is not None:
        fields["end_ids"] = [end] if isinstance(end, int) else list(end)
    banned = list(given.pop("bad_words_ids", ()))
    banned += [[token] for token in given.pop("suppress_tokens", ())]
    if banned:
        fields["bad_words_ids"] = banned
    if bias := given.pop("logit_bias", None):
        fields["embedding_bias"] = {int(token): float(value) for token, value in bias.items()}
    if guide := given.pop("guided_decoding", None):
        fields |= _guide(guide["type"], guide.get("guide"))
    if response_format := given.pop("response_format", None):
        fields |= _response_format(response_format)
    for name, value in given.items():
        if name in AS_THEY_ARE:
            fields[name] = value
        elif name in SAMPLING:
            fields |= _sampling_value(name, value, greedy)
        else:
            raise InvalidRequestError(f"{name}: Triton has no tensor for it; ask a service by REST")
    if greedy:
        fields["top_k"] = 1
    return GenerationRequest(
        max_tokens=DEFAULT_MAX_TOKENS if max_tokens is None else max_tokens,
        text_input=request.text,
        messages=request.messages,
        stream=stream,
        **fields,
    )


def _guide(kind: str, guide: Any) -> dict[str, Any]:
    text = guide if guide is None or isinstance(guide, str) else json.dumps(guide)
    return {"guided_decoding_guide_type": kind, "guided_decoding_guide": text}


def _response_format(value: dict[str, Any]) -> dict[str, Any]:
    """Translate OpenAI's parameter."""
    if value["type"] == "text":
        return {}
    wrapped = value.get("json_schema", {})
    return _guide("json_schema", wrapped.get("schema", {"type": "object"}))


def _sampling_value(name: str, value: Any, greedy: bool) -> dict[str, Any]:
    """Return the field that a value becomes, if it means something to a greedy request."""
    row = SAMPLING[name]
    assert row.generate is not None
    if greedy and row.generate.when == "sampling":
        return {}
    return {row.name: row.generate.encoding.get(json.dumps(value), value)}
