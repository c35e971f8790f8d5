"""`python -m aeolus_client`: send a prompt to a served model and print the reply as it comes."""

import argparse
import asyncio
import random
import sys
from contextlib import aclosing

from aeolus_client.errors import ServiceError
from aeolus_client.generation import GenerationRequest
from aeolus_client.triton import TritonClient


def main(given: list[str] | None = None) -> int:
    """Run the command line; returns the exit code."""
    arguments = parse_arguments(given)
    try:
        asyncio.run(converse(arguments))
    except ServiceError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def parse_arguments(given: list[str] | None) -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(prog="python -m aeolus_client", description=__doc__)
    parser.add_argument("prompt", help="what to say to the model")
    parser.add_argument("--address", default="127.0.0.1:8001", help="Triton's gRPC service")
    parser.add_argument("--model", default="ensemble", help="name of the ensemble")
    parser.add_argument("--raw", action="store_true", help="continue the prompt as it stands")
    parser.add_argument("--system", help="system message in front of the prompt")
    parser.add_argument("--max-tokens", type=int, default=512)
    parser.add_argument("--temperature", type=float, default=0.0, help="0 is greedy")
    parser.add_argument("--top-k", type=int, default=40)
    parser.add_argument("--top-p", type=float, default=0.95)
    return parser.parse_args(given)


async def converse(arguments: argparse.Namespace) -> None:
    """Send the prompt and print the tokens as they come."""
    client = TritonClient(arguments.address, arguments.model)
    try:
        async with aclosing(client.stream(request_from(arguments))) as chunks:
            async for chunk in chunks:
                print(chunk.text, end="", flush=True)
        print()
        print(
            f"{chunk.prompt_tokens} prompt tokens, {chunk.completion_tokens} completion tokens,"
            f" finished by {chunk.finish_reason}",
            file=sys.stderr,
        )
    finally:
        await client.close()


def request_from(arguments: argparse.Namespace) -> GenerationRequest:
    """Return the request the command line describes."""
    sampling = (
        {"top_k": 1}
        if arguments.temperature == 0
        else {
            "temperature": arguments.temperature,
            "top_k": arguments.top_k,
            "top_p": arguments.top_p,
            "seed": random.getrandbits(63),
        }
    )
    turns = [("system", arguments.system), ("user", arguments.prompt)]
    return GenerationRequest(
        max_tokens=arguments.max_tokens,
        text_input=arguments.prompt if arguments.raw else None,
        messages=None
        if arguments.raw
        else [{"role": role, "content": content} for role, content in turns if content],
        stream=True,
        **sampling,
    )


if __name__ == "__main__":
    sys.exit(main())
