"""`aeolus predict`: a body to the predict route, as the READMEs do with `truss predict`."""

import json
import sys
from contextlib import aclosing
from pathlib import Path
from typing import Annotated, Any

import typer

from aeolus_client.cli import options, terminal
from aeolus_client.client import DEFAULT_TIMEOUT, AsyncClient


def predict(
    data: Annotated[
        str | None,
        typer.Option("--data", "-d", help="The body, a JSON object; - reads it from stdin."),
    ] = None,
    file: Annotated[
        Path | None, typer.Option("--file", "-f", exists=True, dir_okay=False, help="or a file.")
    ] = None,
    url: options.Url = options.DEFAULT,
    model: options.Model = None,
    api_key: options.ApiKey = None,
    timeout: options.Timeout = DEFAULT_TIMEOUT,
    as_json: options.Json = False,
) -> None:
    """Post a body to a model's predict route; prints what it replies, a stream as it comes."""
    if (data is None) == (file is None):
        raise typer.BadParameter("give the body by -d or by -f", param_hint="--data")
    text = file.read_text(encoding="utf-8") if file else sys.stdin.read() if data == "-" else data
    try:
        body = json.loads(text or "")
    except ValueError as error:
        raise typer.BadParameter(f"no JSON: {error}", param_hint="--data") from error
    if not isinstance(body, dict):
        raise typer.BadParameter("not a JSON object", param_hint="--data")
    client = terminal.client(url, model=model, api_key=api_key, timeout=timeout)
    terminal.run(_predict(client, body, as_json))


async def _predict(client: AsyncClient, body: dict[str, Any], as_json: bool) -> None:
    async with client:
        if body.get("stream") and not as_json:
            async with aclosing(client.stream_predict(body)) as chunks:
                async for chunk in chunks:
                    terminal.write(chunk.text)
            terminal.write("\n")
            return
        reply = await client.predict(body)
    if as_json:
        terminal.print_json(
            {
                "output": reply.output,
                "finish_reason": reply.finish_reason,
                "prompt_tokens": reply.prompt_tokens,
                "completion_tokens": reply.completion_tokens,
                "request_id": reply.request_id,
            }
        )
    elif isinstance(reply.output, str):
        terminal.write(reply.output + "\n")
    else:
        terminal.print_json(reply.output)
