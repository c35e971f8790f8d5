"""`aeolus ask`: one question, one reply."""

import sys
from contextlib import aclosing
from typing import Annotated, Any

import typer

from aeolus_client.cli import options, terminal
from aeolus_client.client import DEFAULT_TIMEOUT, AsyncClient
from aeolus_client.generation import Message
from aeolus_client.triton import gather


def ask(
    prompt: Annotated[str, typer.Argument(help="What to ask; - reads it from standard input.")],
    url: options.Url = options.DEFAULT,
    model: options.Model = None,
    api_key: options.ApiKey = None,
    system: options.System = None,
    raw: Annotated[
        bool, typer.Option("--raw", help="Continue the prompt as it stands, without the template.")
    ] = False,
    max_tokens: Annotated[int | None, typer.Option(min=1, help="Most tokens of the reply.")] = None,
    temperature: Annotated[float | None, typer.Option(min=0, help="0 is greedy.")] = None,
    given: options.Parameters = None,
    timeout: options.Timeout = DEFAULT_TIMEOUT,
    as_json: options.Json = False,
) -> None:
    """Ask a question; the reply is printed as it comes."""
    parameters = options.read_parameters(given)
    if max_tokens is not None:
        parameters["max_tokens"] = max_tokens
    if temperature is not None:
        parameters["temperature"] = temperature
    if raw and system:
        raise typer.BadParameter("a raw prompt has no system message", param_hint="--system")
    text = sys.stdin.read() if prompt == "-" else prompt
    turns: list[Message] = [{"role": "user", "content": text}]
    if system:
        turns.insert(0, {"role": "system", "content": system})
    client = terminal.client(url, model=model, api_key=api_key, timeout=timeout)
    terminal.run(_ask(client, text if raw else turns, raw, parameters, as_json))


async def _ask(
    client: AsyncClient,
    prompt: str | list[Message],
    raw: bool,
    parameters: dict[str, Any],
    as_json: bool,
) -> None:
    async with client:
        if as_json:
            reply = await gather(client.stream(prompt, raw=raw, **parameters))
            terminal.print_json(
                {
                    "text": reply.text,
                    "finish_reason": reply.finish_reason,
                    "prompt_tokens": reply.prompt_tokens,
                    "completion_tokens": reply.completion_tokens,
                }
            )
            return
        async with aclosing(client.stream(prompt, raw=raw, **parameters)) as chunks:
            async for chunk in chunks:
                terminal.write(chunk.text)
        terminal.write("\n")
        if sys.stderr.isatty():
            terminal.note(
                f"{chunk.prompt_tokens} + {chunk.completion_tokens} tokens,"
                f" finished by {chunk.finish_reason}"
            )
