"""Many streams at once, from an engine that is faster than the text stages."""

import asyncio
from collections.abc import Iterator
from uuid import uuid4

import pytest
from tokenizers import Tokenizer

from aeolus_client import Completion, GenerationRequest, TritonClient
from launcher.server import TritonServer
from scripts.bench.service import running_triton
from support.null_repository import CHECKPOINT, null_repository, vocab_size
from support.null_tokens import null_tokens

pytestmark = pytest.mark.server

NUM_STREAMS = 64
NUM_TOKENS = 500


@pytest.fixture(scope="module", params=[0, 31_900], ids=["a response a token", "joined"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[TritonServer]:
    directory = tmp_path_factory.mktemp("null")
    repository = null_repository(directory / "repository", tokens_per_second=request.param)
    with running_triton(repository.path, directory / "run") as server:
        yield server


def replies(server: TritonServer, request_ids: list[str]) -> list[Completion]:
    """Stream a reply for each id, all at once; the seed is the place in the list."""

    async def run() -> list[Completion]:
        client = TritonClient(server.grpc_address)
        try:
            return await asyncio.gather(
                *(
                    client.complete(
                        GenerationRequest(
                            text_input="Hi",
                            max_tokens=NUM_TOKENS,
                            stream=True,
                            seed=seed,
                            request_id=request_id,
                        )
                    )
                    for seed, request_id in enumerate(request_ids)
                )
            )
        finally:
            await client.close()

    return asyncio.run(run())


def expected_texts(count: int) -> list[str]:
    tokenizer = Tokenizer.from_file(str(CHECKPOINT / "tokenizer.json"))
    return [tokenizer.decode(null_tokens(seed, NUM_TOKENS, vocab_size())) for seed in range(count)]


def test_every_stream_is_whole_and_in_order(server: TritonServer) -> None:
    received = replies(server, [uuid4().hex for _ in range(NUM_STREAMS)])
    assert [each.text for each in received] == expected_texts(NUM_STREAMS)
    assert {each.completion_tokens for each in received} == {NUM_TOKENS}


@pytest.mark.parametrize("request_id", ["the same", ""])
def test_streams_of_one_id_or_none_are_told_apart(server: TritonServer, request_id: str) -> None:
    assert [each.text for each in replies(server, [request_id] * 4)] == expected_texts(4)
