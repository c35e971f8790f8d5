"""How the tests of the client ask the ensemble."""

import asyncio
from typing import Any

import pytest

from aeolus_client import Completion, GenerationRequest, TritonClient
from launcher.server import TritonServer
from support.asking import QUESTION, Ask


@pytest.fixture
def ask(triton: TritonServer) -> Ask:
    """Ask for at most 64 tokens and their ids, unless told otherwise."""

    async def complete(values: dict[str, Any]) -> Completion:
        client = TritonClient(triton.grpc_address)
        try:
            return await client.complete(GenerationRequest(**values))
        finally:
            await client.close()

    def run(**values: Any) -> Completion:
        prompt = {} if "input_ids" in values else {"messages": QUESTION}
        defaults = {"max_tokens": 64, "return_output_ids": True}
        return asyncio.run(complete({**prompt, **defaults, **values}))

    return run
