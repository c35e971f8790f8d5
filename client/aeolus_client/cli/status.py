"""`aeolus models` and `aeolus status`: what is served, and how busy it is."""

import asyncio
import contextlib
import time
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer
from rich.console import Group, RenderableType
from rich.live import Live
from rich.table import Table
from rich.text import Text

from aeolus_client.backend import ModelInfo
from aeolus_client.cli import options, terminal
from aeolus_client.client import AsyncClient
from aeolus_client.errors import ServiceError
from aeolus_client.metrics import Metrics
from aeolus_client.rest.backend import RestBackend

TRITON_METRICS_PORT = 8002
TIMEOUT = 10.0
GIB = 1 << 30
ENGINE_REQUESTS = "nv_trt_llm_request_metrics"
KV_CACHE = "nv_trt_llm_kv_cache_block_metrics"
RANKS = "aeolus_engine_ranks"


def models(
    url: options.Url = options.DEFAULT,
    api_key: options.ApiKey = None,
    as_json: options.Json = False,
) -> None:
    """List the models that are served."""
    found = terminal.run(_models(terminal.client(url, api_key=api_key, timeout=TIMEOUT)))
    if as_json:
        terminal.print_json([_model(each) for each in found])
    else:
        terminal.console.print(_models_table(found))
    if not all(each.is_ready for each in found):
        raise typer.Exit(terminal.AWAY)


def status(
    url: options.Url = options.DEFAULT,
    api_key: options.ApiKey = None,
    triton_metrics: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Triton's metrics; port 8002 of the host, if not given."),
    ] = None,
    watch: Annotated[bool, typer.Option("--watch", "-w", help="Show it until Ctrl-C.")] = False,
    every: Annotated[float, typer.Option(min=0.1, help="Seconds between two looks.")] = 1.0,
    as_json: options.Json = False,
) -> None:
    """Show models, requests, tokens per second, and each engine's ranks, KV cache and GPUs."""
    client = terminal.client(url, api_key=api_key, timeout=TIMEOUT)
    host = urlsplit(url.split(",")[0]).hostname or "127.0.0.1"
    address = triton_metrics or f"http://{host}:{TRITON_METRICS_PORT}"
    triton = RestBackend(address.removesuffix("/metrics"))
    reader = Status(client, triton)
    if not watch:
        state = terminal.run(_read_once(reader))
        if as_json:
            terminal.print_json(state)
        else:
            terminal.console.print(_rendered(state))
        return
    try:
        asyncio.run(_watch(reader, every, as_json))
    except KeyboardInterrupt:
        return  # as it is meant to end


class Status:
    """Reads a service's state again and again; rates are between two readings."""

    def __init__(self, client: AsyncClient, triton: RestBackend):
        """Take the client of the service, and where Triton's metrics are."""
        self._client = client
        self._triton = triton
        self._before: tuple[float, float] | None = None

    async def read(self) -> dict[str, Any]:
        """Return the state; what cannot be read is missing.

        Raises:
            ServiceError: the server itself cannot be reached.
        """
        found: dict[str, Any] = {"models": [_model(each) for each in await self._client.models()]}
        # A Triton has none, and a service may keep its own to itself.
        with contextlib.suppress(ServiceError):
            found |= self._service(Metrics(await self._client.metrics()))
        try:
            found |= _triton(Metrics(await self._triton.metrics()))
        except ServiceError as error:
            found["triton"] = str(error)
        return found

    async def close(self) -> None:
        """Disconnect."""
        await self._client.close()
        await self._triton.close()

    def _service(self, metrics: Metrics) -> dict[str, Any]:
        now = (time.monotonic(), metrics.total("aeolus_completion_tokens_total") or 0.0)
        before, self._before = self._before, now
        # A service that has begun anew counts from 0.
        is_known = before is not None and now[1] >= before[1]
        rate = (now[1] - before[1]) / (now[0] - before[0]) if before and is_known else None
        return {
            "requests": {
                "running": metrics.total("aeolus_requests_running") or 0,
                "waiting": metrics.total("aeolus_requests_waiting") or 0,
            },
            "tokens_per_second": rate,
            "tritons": {
                each.labels["address"]: each.value == 1
                for each in metrics.all("aeolus_triton_healthy")
            },
        }


def _triton(metrics: Metrics) -> dict[str, Any]:
    engines = {}
    for each in metrics.all(KV_CACHE, kv_cache_block_type="max"):
        model = each.labels["model"]
        used = metrics.total(KV_CACHE, kv_cache_block_type="used", model=model)
        active = metrics.total(ENGINE_REQUESTS, request_type="active", model=model)
        engines[model] = {
            "requests": active,
            "waiting": metrics.total(ENGINE_REQUESTS, request_type="waiting", model=model),
            "ranks": metrics.total(RANKS, state="computing", model=model),
            "kv_cache_used": None if used is None or not each.value else used / each.value,
        }
    gpus = [
        {
            "uuid": each.labels.get("gpu_uuid"),
            "utilization": each.value,
            "memory_used_bytes": metrics.total("nv_gpu_memory_used_bytes", **each.labels),
            "memory_total_bytes": metrics.total("nv_gpu_memory_total_bytes", **each.labels),
        }
        for each in metrics.all("nv_gpu_utilization")
    ]
    cpu = metrics.total("nv_cpu_utilization")
    return {"engines": engines, "gpus": gpus, "cpu_utilization": cpu}


async def _models(client: AsyncClient) -> list[ModelInfo]:
    async with client:
        return await client.models()


async def _read_once(status: Status) -> dict[str, Any]:
    try:
        return await status.read()
    finally:
        await status.close()


async def _watch(status: Status, every: float, as_json: bool) -> None:
    """Show what is read until it is cancelled: drawn anew in a terminal, else one after another."""
    is_drawn = terminal.console.is_terminal and not as_json
    live = Live(console=terminal.console, auto_refresh=False) if is_drawn else None
    try:
        with live or contextlib.nullcontext():
            while True:
                state = await _read_or_say(status)
                if live:
                    live.update(_rendered(state), refresh=True)
                elif as_json:
                    terminal.print_line(state)
                else:
                    terminal.console.print(_rendered(state))
                await asyncio.sleep(every)
    finally:
        await status.close()


async def _read_or_say(status: Status) -> dict[str, Any]:
    """Return the state, or what is wrong: a server that is away may come back."""
    try:
        return await status.read()
    except ServiceError as error:
        return {"error": str(error)}


def _model(model: ModelInfo) -> dict[str, Any]:
    return {
        "name": model.name,
        "context_length": model.context_length,
        "is_ready": model.is_ready,
    }


def _models_table(found: list[ModelInfo]) -> Table:
    table = Table("model", "context", "state", box=None, pad_edge=False)
    for each in found:
        context = "" if each.context_length is None else f"{each.context_length:,}"
        table.add_row(each.name, context, "ready" if each.is_ready else "not ready")
    return table


def _rendered(state: dict[str, Any]) -> RenderableType:
    if "error" in state:
        return Text(f"error: {state['error']}", style="red")
    parts: list[RenderableType] = [_models_table([ModelInfo(**each) for each in state["models"]])]
    lines = []
    if "requests" in state:
        requests = state["requests"]
        rate = state["tokens_per_second"]
        lines.append(
            f"requests  {requests['running']:g} running, {requests['waiting']:g} waiting"
            + ("" if rate is None else f", {rate:,.1f} tokens/s")
        )
        lines += [
            f"triton    {address} {'ready' if is_ready else 'not ready'}"
            for address, is_ready in state["tritons"].items()
        ]
    if "triton" in state:
        lines.append(f"triton    {state['triton']}")
    for name, engine in state.get("engines", {}).items():
        used = engine["kv_cache_used"]
        cache = "" if used is None else f", KV cache {used:.0%} used"
        lines.append(
            f"engine    {name}: {_ranks(engine['ranks'])}{engine['requests'] or 0:g} requests,"
            f" {engine['waiting'] or 0:g} of them waiting{cache}"
        )
    for number, gpu in enumerate(state.get("gpus", ())):
        lines.append(f"gpu {number}     {gpu['utilization']:.0%}{_memory(gpu)}")
    if state.get("cpu_utilization") is not None and not state.get("gpus"):
        lines.append(f"cpu       {state['cpu_utilization']:.0%}")
    return Group(*parts, Text(""), *(Text(line) for line in lines))


def _ranks(ranks: float | None) -> str:
    """Say how many processes share the model; nothing of an engine that does not."""
    if ranks is None:
        return ""
    return f"{ranks:g} rank{'' if ranks == 1 else 's'}, " if ranks else "loading, "


def _memory(gpu: dict[str, Any]) -> str:
    used, total = gpu["memory_used_bytes"], gpu["memory_total_bytes"]
    return f", {used / GIB:.1f} of {total / GIB:.1f} GiB" if used and total else ""
