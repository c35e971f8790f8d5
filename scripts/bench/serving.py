"""Compare this server with Baseten's Truss server, end to end, in one run.

Both serve the same random Mistral on this CPU, in the same precision, to a closed loop of N users,
and both are asked by the same requests: greedy, whole replies and streams. The Truss runs
`generate`, one request at a time as Truss has it by default. In float32 their replies must be
equal, or the run ends; in bfloat16 each rounds in its own way. The load generator shares the
machine with the server under test: compare the rows of one run, not runs.
"""

import argparse
import asyncio
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

import numpy as np

from scripts.bench.service import running_service
from scripts.bench.traffic.closed_loop import Measurement, closed_loop
from scripts.bench.traffic.predict import (
    greedy_stream_of,
    open_session,
    predict_stream,
    predict_text,
)
from scripts.bench.truss.server import running_truss

PROMPT = "The keeper of the winds opened the bag, and "
TOKENIZER = Path("demo/checkpoint")
LOG = Path(".run/bench_serving/shim.log")
REPLIES = {"whole": False, "streamed": True}


def make_checkpoint(directory: Path, dtype: str) -> None:
    """Write a random Mistral in that precision beside the demo's tokenizer."""
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
    model.to(getattr(torch, dtype)).save_pretrained(directory)
    tokenizer.save_pretrained(directory)


@contextmanager
def our_server(checkpoint: Path, dtype: str) -> Iterator[str]:
    """Run `python -m launcher`; yields the shim's URL."""
    options = ("--model", "mistral-7b", "--checkpoint", str(checkpoint), "--dtype", dtype)
    with running_service(LOG, *options, log_level="WARNING") as service:
        yield service.url


def request_of(tokens: int, is_streamed: bool) -> dict[str, object]:
    """Return the body of a request for that many tokens."""
    return greedy_stream_of(tokens) | {"prompt": PROMPT, "stream": is_streamed}


async def reply_texts(url: str, tokens: int) -> list[str]:
    """Return a whole reply and a streamed one."""
    async with open_session() as session:
        bodies = [request_of(tokens, each) for each in REPLIES.values()]
        return [await predict_text(session, url, body) for body in bodies]


async def measure(url: str, body: dict[str, object], users: int, requests: int) -> Measurement:
    """Send so many requests, one of each user at a time."""
    async with open_session() as session:
        return await closed_loop(predict_stream(session, url, body), users, requests)


def bench(arguments: argparse.Namespace, directory: Path) -> None:
    """Print the table; one server runs at a time."""
    checkpoint, tokens = directory / "checkpoint", arguments.tokens
    make_checkpoint(checkpoint, arguments.dtype)
    systems: dict[str, AbstractContextManager[str]] = {
        "Truss": running_truss(checkpoint, directory / "truss", arguments.truss_threads),
        "Aeolus": our_server(checkpoint, arguments.dtype),
    }
    texts: list[list[str]] = []
    results: dict[tuple[str, str, int], Measurement] = {}
    for system, running in systems.items():
        with running as url:
            texts.append(asyncio.run(reply_texts(url, tokens)))  # warms up, too
            if arguments.dtype == "float32" and texts[-1] != texts[0]:
                raise SystemExit(f"the replies differ: {texts}")
            for reply, is_streamed in REPLIES.items():
                body = request_of(tokens, is_streamed)
                for users in arguments.concurrency:
                    requests = arguments.rounds * max(users, 4)
                    results[system, reply, users] = asyncio.run(measure(url, body, users, requests))
    print_table(results, arguments)


def print_table(
    results: dict[tuple[str, str, int], Measurement], arguments: argparse.Namespace
) -> None:
    """Print a row for each kind of reply and number of users.

    The first text of a whole reply comes with its end.
    """
    print(f"{'':14}{'requests/s':>18}{'tokens/s':>20}{'':>8}{'first text p50, ms':>22}")
    pair = f"{'Truss':>10}{'Aeolus':>10}"
    print(f"{'reply':8}{'users':>6}{pair}{pair}{'ratio':>8}{pair}")
    for reply in REPLIES:
        for users in arguments.concurrency:
            both = [results[system, reply, users] for system in ("Truss", "Aeolus")]
            rates = [each.requests_per_second for each in both]
            first = [1000 * np.median(each.first_chunk) for each in both]
            print(
                f"{reply:8}{users:>6}{rates[0]:>10.2f}{rates[1]:>10.2f}"
                f"{arguments.tokens * rates[0]:>10.0f}{arguments.tokens * rates[1]:>10.0f}"
                f"{rates[1] / rates[0]:>8.2f}{first[0]:>10.1f}{first[1]:>10.1f}"
            )


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--concurrency", type=int, nargs="+", default=[1, 4, 16])
    parser.add_argument("--rounds", type=int, default=6, help="requests of a user")
    parser.add_argument("--tokens", type=int, default=64, help="a request")
    parser.add_argument("--dtype", choices=["float32", "bfloat16"], default="float32")
    parser.add_argument("--truss-threads", type=int, help="of torch in the Truss; default: torch's")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="aeolus-bench-") as directory:
        try:
            bench(arguments, Path(directory))
        except subprocess.CalledProcessError as error:
            raise SystemExit(f"{error}\n{error.stderr}") from error


if __name__ == "__main__":
    main()
