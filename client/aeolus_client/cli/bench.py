"""`aeolus bench`: load on a server, and what its users see of it."""

import asyncio
from contextlib import nullcontext
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn
from rich.table import Table

from aeolus_client.bench.load import Load, Run, Sample
from aeolus_client.bench.plot import render_plot
from aeolus_client.bench.report import Latency, Objective, Report, make_report
from aeolus_client.bench.workload import Lengths, Workload
from aeolus_client.cli import options, terminal
from aeolus_client.client import DEFAULT_TIMEOUT, AsyncClient
from aeolus_client.errors import ServiceError

PROMPT_LENGTHS, OUTPUT_LENGTHS = Lengths(128, 128), Lengths(64, 64)
DEFAULT_REQUESTS = 100
LATENCIES = {
    "first_token": "time to first token",
    "inter_token": "inter-token latency",
    "gap": "gap between pieces",
    "end_to_end": "end to end",
}


def bench(
    url: options.Url = options.DEFAULT,
    model: options.Model = None,
    api_key: options.ApiKey = None,
    concurrency: Annotated[
        int | None, typer.Option("--concurrency", "-c", min=1, help="Requests at once; else 1.")
    ] = None,
    rate: Annotated[
        float | None, typer.Option("--rate", "-r", min=0.001, help="Requests a second instead.")
    ] = None,
    arrivals: Annotated[
        Literal["poisson", "constant"], typer.Option(help="How the requests of a rate come.")
    ] = "poisson",
    requests: Annotated[
        int | None, typer.Option("--requests", "-n", min=1, help="How many; else 100.")
    ] = None,
    duration: Annotated[
        float | None, typer.Option("--duration", min=0.1, help="Seconds; or as long as this.")
    ] = None,
    warm_up: Annotated[int, typer.Option(min=0, help="Requests before, which do not count.")] = 4,
    prompt_tokens: Annotated[
        str | None, typer.Option(metavar="N or LEAST:MOST", help="Of made prompts; else 128.")
    ] = None,
    output_tokens: Annotated[
        str | None,
        typer.Option(
            metavar="N or LEAST:MOST",
            help="Of the replies; else 64, or with --prompts as many as come.",
        ),
    ] = None,
    prompts: Annotated[
        Path | None,
        typer.Option(
            exists=True,
            dir_okay=False,
            help="A prompt a line instead, as text or as JSON with prompt or messages.",
        ),
    ] = None,
    given: options.Parameters = None,
    stream: Annotated[bool, typer.Option(help="Ask for streams, or for whole replies.")] = True,
    slo_first_token: Annotated[
        float | None, typer.Option(metavar="MS", help="Goodput: longest time to first token.")
    ] = None,
    slo_inter_token: Annotated[
        float | None, typer.Option(metavar="MS", help="Goodput: longest inter-token latency.")
    ] = None,
    slo_end_to_end: Annotated[
        float | None, typer.Option(metavar="MS", help="Goodput: longest time to the end.")
    ] = None,
    timeout: options.Timeout = DEFAULT_TIMEOUT,
    seed: Annotated[int, typer.Option(help="Of prompts and arrivals.")] = 0,
    plot: Annotated[
        Path | None, typer.Option(dir_okay=False, help="Write an SVG of the latencies.")
    ] = None,
    as_json: options.Json = False,
) -> None:
    """Measure a server: latencies, tokens a second, goodput."""
    if concurrency is not None and rate is not None:
        raise typer.BadParameter("give --concurrency or --rate", param_hint="--rate")
    if plot is not None and not plot.parent.is_dir():
        raise typer.BadParameter(f"{plot.parent} is not a directory", param_hint="--plot")
    if requests is None and duration is None:
        requests = DEFAULT_REQUESTS
    load = Load(
        concurrency=concurrency or 1,
        rate=rate,
        arrivals=arrivals,
        requests=requests,
        seconds=duration,
        is_streamed=stream,
        seed=seed,
    )
    objective = Objective(
        first_token_ms=slo_first_token,
        inter_token_ms=slo_inter_token,
        end_to_end_ms=slo_end_to_end,
    )
    if prompts is not None and prompt_tokens is not None:
        raise typer.BadParameter("give --prompts or --prompt-tokens", param_hint="--prompts")
    prompt_lengths, output_lengths = _lengths(prompt_tokens), _lengths(output_tokens)
    parameters = options.read_parameters(given)
    client = terminal.client(url, model=model, api_key=api_key, timeout=timeout, retries=0)

    async def supply() -> Workload:
        if prompts is not None:
            return Workload.of_file(prompts, parameters, output_lengths, seed)
        return await Workload.of_lengths(
            client,
            prompt_lengths or PROMPT_LENGTHS,
            output_lengths or OUTPUT_LENGTHS,
            parameters,
            seed,
        )

    samples: list[Sample] = []
    is_whole = True
    try:
        asyncio.run(_bench(client, supply, load, warm_up, samples, not as_json))
    except ServiceError as error:
        raise terminal.fail(str(error), terminal.exit_code(error)) from error
    except ValueError as error:
        raise terminal.fail(str(error)) from error
    except KeyboardInterrupt:
        is_whole = False
    report = make_report(samples, objective, duration if is_whole else None)
    if as_json:
        terminal.print_json(report.as_json() | {"load": _described(load), "complete": is_whole})
    else:
        _print(report, objective)
    if plot is not None:
        plot.write_text(render_plot(samples, report), encoding="utf-8")
    if not is_whole:
        raise typer.Exit(terminal.INTERRUPTED)
    if not report.requests:
        raise typer.Exit(terminal.FAILED)


def _lengths(text: str | None) -> Lengths | None:
    """Read the lengths of an option, if it is given."""
    if text is None:
        return None
    try:
        return Lengths.parse(text)
    except ValueError as error:
        raise typer.BadParameter(str(error)) from error


async def _bench(
    client: AsyncClient,
    supply: Any,
    load: Load,
    warm_up: int,
    samples: list[Sample],
    is_shown: bool,
) -> None:
    async with client:
        workload = await supply()
        if warm_up:
            first = Run(client, workload, Load(concurrency=warm_up, requests=warm_up))
            await first.run()
            if all(each.error for each in first.samples):
                raise ServiceError(
                    f"no request of the warm-up was answered: {first.samples[0].error}"
                )
        progress = _progress() if is_shown and terminal.errors.is_terminal else None
        run = Run(client, workload, load)
        run.samples = samples
        with progress or nullcontext():
            showing = asyncio.create_task(_show(progress, run, load)) if progress else None
            try:
                await run.run()
            finally:
                if showing:
                    showing.cancel()


def _progress() -> Progress:
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.fields[state]}"),
        TimeElapsedColumn(),
        console=terminal.errors,
        transient=True,
    )


async def _show(progress: Progress, run: Run, load: Load) -> None:
    total = load.requests if load.seconds is None else load.seconds
    task = progress.add_task("benchmark", total=total, state="")
    while True:
        done = len(run.samples) if load.seconds is None else run.elapsed
        failed = sum(each.error is not None for each in run.samples)
        state = f"{len(run.samples)} done, {run.in_flight} running"
        progress.update(task, completed=done, state=state + (f", {failed} failed" * bool(failed)))
        await asyncio.sleep(0.2)


def _described(load: Load) -> dict[str, Any]:
    how = (
        {"concurrency": load.concurrency}
        if load.rate is None
        else {"rate": load.rate, "arrivals": load.arrivals}
    )
    return how | {"requests": load.requests, "seconds": load.seconds, "stream": load.is_streamed}


def _print(report: Report, objective: Objective) -> None:
    table = Table(box=None, pad_edge=False)
    table.add_column("ms")
    for name in ("mean", "p50", "p90", "p95", "p99", "max"):
        table.add_column(name, justify="right")
    for name, title in LATENCIES.items():
        latency: Latency | None = getattr(report, name)
        if latency is not None:
            values = (latency.mean, latency.p50, latency.p90, latency.p95, latency.p99, latency.max)
            table.add_row(title, *(f"{value:,.1f}" for value in values))
    lines = {
        "requests": f"{report.requests} in {report.seconds:.1f} s, {report.failed} failed",
        "requests/s": f"{report.requests_per_second:.2f}",
        "goodput/s": f"{report.goodput:.2f}" if objective != Objective() else None,
        "tokens/s": f"{report.completion_tokens_per_second:,.1f} generated,"
        f" {report.total_tokens_per_second:,.1f} with prompts",
        "tokens": f"{report.prompt_tokens:,} of prompts, {report.completion_tokens:,} generated",
    }
    for name, line in lines.items():
        if line is not None:
            terminal.console.print(f"{name:<12}{line}", markup=False)
    terminal.console.print()
    terminal.console.print(table)
    if report.first_error is not None:
        kinds = ", ".join(f"{count} x {kind}" for kind, count in report.errors.items())
        terminal.report(f"{kinds}; the first: {report.first_error}")
