"""Compare this server with a plain transformers server, end to end, in one run.

The plain server is FastAPI and `generate` in a thread with a `TextIteratorStreamer`, one request at
a time: what a Truss with default settings does. Both stream the same greedy continuations of the
same random Mistral on this CPU, in the same precision, to a closed loop of N users. The load
generator shares the machine with the server under test: compare the rows of one run, not runs.
"""

import argparse
import asyncio
import contextlib
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from launcher.ports import free_ports
from scripts.bench.service import running_service
from scripts.bench.traffic.closed_loop import Measurement, closed_loop
from scripts.bench.traffic.predict import greedy_stream_of, open_session, predict_stream

PROMPT = "The keeper of the winds opened the bag, and "
TOKENIZER = Path("demo/checkpoint")
LOG = Path(".run/bench_serving/shim.log")
PLAIN_SERVER = Path(__file__).with_name("plain_server.py")
START_SECONDS = 60.0


def make_checkpoint(directory: Path) -> None:
    """Write a random Mistral beside the demo's tokenizer."""
    import torch
    from transformers import AutoTokenizer, MistralConfig, MistralForCausalLM

    tokenizer = AutoTokenizer.from_pretrained(TOKENIZER)
    config = MistralConfig(
        vocab_size=4096,
        hidden_size=256,
        intermediate_size=688,
        num_hidden_layers=4,
        num_attention_heads=8,
        num_key_value_heads=2,
        max_position_embeddings=2048,
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
    )
    model = MistralForCausalLM(config)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in name else 0.0, 0.08, generator=generator)
        model.lm_head.weight[len(tokenizer) :] = 0  # no token without a text is ever the best
    model.save_pretrained(directory)
    tokenizer.save_pretrained(directory)


@contextlib.contextmanager
def plain_server(directory: Path, dtype: str) -> Iterator[str]:
    """Run the plain server; yields its URL."""
    port = free_ports().http
    command = [
        *(sys.executable, str(PLAIN_SERVER), str(directory)),
        *("--port", str(port), "--dtype", dtype),
    ]
    with subprocess.Popen(command) as server:  # noqa: S603
        url = f"http://127.0.0.1:{port}"
        try:
            _wait_for(f"{url}/docs")
            yield url
        finally:
            server.kill()


@contextlib.contextmanager
def our_server(directory: Path, dtype: str) -> Iterator[str]:
    """Run `python -m launcher`; yields the shim's URL."""
    options = ("--model", "mistral-7b", "--checkpoint", str(directory), "--dtype", dtype)
    with running_service(LOG, *options, log_level="WARNING") as service:
        yield service.url


async def measure(url: str, users: int, requests: int, tokens: int) -> Measurement:
    """Run `requests` streams of `tokens` tokens, one of each user at a time."""
    async with open_session() as session:
        body = greedy_stream_of(tokens) | {"prompt": PROMPT}
        return await closed_loop(predict_stream(session, url, body), users, requests)


def bench(arguments: argparse.Namespace, directory: Path) -> None:
    """Print the table; one server runs at a time."""
    make_checkpoint(directory)
    systems: dict[str, Callable[[Path, str], AbstractContextManager[str]]] = {
        "plain": plain_server,
        "ours": our_server,
    }
    results: dict[tuple[str, int], Measurement] = {}
    for name, serve in systems.items():
        with serve(directory, arguments.dtype) as url:
            asyncio.run(measure(url, 1, 2, arguments.tokens))  # warm up
            for users in arguments.concurrency:
                requests = arguments.rounds * max(users, 4)
                results[name, users] = asyncio.run(measure(url, users, requests, arguments.tokens))
    print(f"{'':>5}{'tokens/s':>18}{'':>10}{'TTFT p50, ms':>24}")
    print(f"{'users':>5}{'plain':>9}{'ours':>9}{'ratio':>10}{'plain':>12}{'ours':>12}")
    for users in arguments.concurrency:
        plain, ours = results["plain", users], results["ours", users]
        rates = [arguments.tokens * each.requests_per_second for each in (plain, ours)]
        ttft = [1000 * np.median(each.first_chunk) for each in (plain, ours)]
        print(
            f"{users:>5}{rates[0]:>9.0f}{rates[1]:>9.0f}{rates[1] / rates[0]:>10.2f}"
            f"{ttft[0]:>12.1f}{ttft[1]:>12.1f}"
        )


def _wait_for(url: str) -> None:
    deadline = time.monotonic() + START_SECONDS
    while True:
        try:
            urllib.request.urlopen(url).close()  # noqa: S310
        except (urllib.error.URLError, ConnectionError):
            if time.monotonic() > deadline:
                raise SystemExit(f"no answer from {url}") from None
            time.sleep(0.2)
        else:
            return


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--rounds", type=int, default=6, help="requests of a user")
    parser.add_argument("--tokens", type=int, default=64, help="a request")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aeolus-bench-") as directory:
        bench(arguments, Path(directory))


if __name__ == "__main__":
    main()
