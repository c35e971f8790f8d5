"""Every row of the table of generate() parameters does what transformers does, or says why not.

Through shim, Triton and reference engine, on a small random checkpoint whose tokens are letters:
equal texts are equal tokens. Where tokens are drawn, their frequencies are compared with the
probabilities that `generate` draws by.
"""

import string
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain
from operator import attrgetter
from typing import Any

import httpx
import pytest
import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, GenerationConfig

from build_engines.tensorrt_llm.assemble import assemble_reference
from catalog import load_catalog
from scripts.bench.service import running_triton
from shim.parameters.table import Row
from support.checkpoints import make_mistral
from support.generate_examples import TABLE, example, rows
from support.serving import serve_shim
from support.tokenizers_for_tests import save_letters

pytestmark = pytest.mark.server

MODEL = "mistral-7b"
VOCAB_SIZE = 30
SEED_OF_A_VARIED_REPLY = 8
PROMPT = "the wind from"
GREEDY = {
    "max_new_tokens": 12,
    "do_sample": False,
    "return_full_text": False,
    "skip_special_tokens": True,
}
SAMPLED = {"do_sample": True, "temperature": 1.0, "top_k": 0, "top_p": 1.0}
DRAWS, SEQUENCES = 1024, 32
OUR_OWN = {"return_full_text", "skip_special_tokens"}

Parameters = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Served:
    """The shim, and transformers on the same checkpoint."""

    http: httpx.Client
    tokenizer: Any
    model: Any

    def reply(self, **body: Any) -> Any:
        """Return the shim's reply to the prompt and parameters."""
        prompt = {} if body.keys() & {"input_ids", "inputs"} else {"prompt": PROMPT}
        reply = self.http.post("/predict", json=prompt | body)
        assert reply.status_code == 200, reply.text
        return reply.json()

    def refusal(self, **body: Any) -> str:
        """Return the error text of a request that the shim refuses."""
        reply = self.http.post("/predict", json={"prompt": PROMPT} | body)
        assert reply.status_code == 422
        return str(reply.json()["error"])

    @torch.inference_mode()
    def generate(self, **options: Any) -> tuple[Any, list[list[int]]]:
        """Return what `generate` returns for the prompt, and the new tokens of each sequence."""
        ids = options.pop("input_ids", None) or options.pop("inputs", None)
        inputs = torch.tensor([ids or self.tokenizer(PROMPT).input_ids])
        mask = options.pop("attention_mask", None)
        attention_mask = torch.ones_like(inputs) if mask is None else torch.tensor([mask])
        if (seed := options.pop("seed", None)) is not None:
            torch.manual_seed(seed)
        options = {"pad_token_id": 0, "tokenizer": self.tokenizer} | options
        output = self.model.generate(inputs, attention_mask=attention_mask, **options)
        sequences = output if isinstance(output, torch.Tensor) else output.sequences
        return output, sequences[:, inputs.shape[1] :].tolist()

    def tokens(self, **options: Any) -> list[int]:
        """Return the new tokens that `generate` chooses, without the end of sequence."""
        own = {name: value for name, value in options.items() if name not in OUR_OWN}
        _, (tokens, *_) = self.generate(**own)
        ends = options.get("eos_token_id", self.model.generation_config.eos_token_id)
        if tokens and tokens[-1] in (ends if isinstance(ends, list) else [ends]):
            tokens = tokens[:-1]
        return tokens

    def text(self, **options: Any) -> str:
        """Return the text of what `generate` chooses."""
        return str(self.tokenizer.decode(self.tokens(**options), skip_special_tokens=True))


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    directory = tmp_path_factory.mktemp("letters")
    checkpoint = directory / "checkpoint"
    checkpoint.mkdir()
    make_mistral(checkpoint, VOCAB_SIZE, seed=SEED_OF_A_VARIED_REPLY)
    save_letters(checkpoint)
    repository = assemble_reference(load_catalog()[MODEL], checkpoint, directory / "models")
    with (
        running_triton(repository.path, directory / "run") as triton,
        serve_shim(triton.grpc_address, [MODEL]) as url,
        httpx.Client(base_url=url, timeout=60) as http,
    ):
        yield Served(
            http=http,
            tokenizer=AutoTokenizer.from_pretrained(checkpoint),
            model=AutoModelForCausalLM.from_pretrained(checkpoint, dtype=torch.float32),
        )


@pytest.fixture(scope="module")
def plain(served: Served) -> list[int]:
    """The greedy reply that parameters are to change."""
    tokens = served.tokens(**GREEDY)
    assert len(tokens) == GREEDY["max_new_tokens"]
    return tokens


@dataclass(frozen=True, slots=True)
class Case:
    """A value of a parameter."""

    value: Any
    beside: Parameters = field(default_factory=dict)
    """Other parameters that it takes to see its effect."""
    options: Parameters | None = None
    """What transformers is given instead, where it lacks the parameter."""


TOKENS = [1, 7, 8]
SEEDED = {**SAMPLED, "seed": 1}
NO_LIMIT = {"max_new_tokens": None}

# Made from the tokens of the plain reply.
CASES: dict[str, Callable[[list[int]], Case]] = {
    "max_new_tokens": lambda _: Case(3),
    "max_length": lambda _: Case(20, NO_LIMIT),
    "max_tokens": lambda _: Case(4, NO_LIMIT, {"max_new_tokens": 4}),
    "min_new_tokens": lambda reply: Case(7, {"eos_token_id": reply[2]}),
    "min_length": lambda reply: Case(21, {"eos_token_id": reply[2]}),
    "eos_token_id": lambda reply: Case([reply[7], reply[2]]),
    "stop_strings": lambda reply: Case([letters(reply[4:6]), "zzz"]),
    "do_sample": lambda _: Case(True, {**SEEDED, "do_sample": False}),
    "temperature": lambda _: Case(0.4, SEEDED),
    "top_k": lambda _: Case(2, SEEDED),
    "top_p": lambda _: Case(0.2, SEEDED),
    "min_p": lambda _: Case(0.3, SEEDED),
    "seed": lambda _: Case(2**40, SAMPLED),
    "num_beams": lambda _: Case(4),
    "length_penalty": lambda reply: Case(4.0, {"num_beams": 4, "eos_token_id": reply[3]}),
    "early_stopping": lambda reply: Case(True, {"num_beams": 2, "eos_token_id": reply[0]}),
    "repetition_penalty": lambda _: Case(1.4),
    "presence_penalty": lambda _: Case(1.5, options=occurrences(1.5, 0)),
    "frequency_penalty": lambda _: Case(0.7, options=occurrences(0, 0.7)),
    "no_repeat_ngram_size": lambda _: Case(2),
    "bad_words_ids": lambda reply: Case([[reply[0]], reply[4:6]]),
    "suppress_tokens": lambda reply: Case([reply[0], reply[2]]),
    "sequence_bias": lambda reply: Case(biases(reply)),
    "logit_bias": lambda reply: Case(
        {str(token): weight for (token,), weight in biases(reply)},
        options={"sequence_bias": biases(reply)},
    ),
    "input_ids": lambda _: Case(TOKENS),
    "inputs": lambda _: Case(TOKENS),
    "attention_mask": lambda _: Case([0, 0, 1, 1, 1], {"input_ids": [9, 9, *TOKENS]}),
    "generation_config": lambda _: Case(
        {"repetition_penalty": 1.4},
        options={"generation_config": GenerationConfig(repetition_penalty=1.4)},
    ),
}
# What transformers cannot be given beside a model that lacks what they are for.
FOREIGN = {
    "assistant_early_exit",
    "compile_config",
    "is_assistant",
    "return_dict",
    "synced_gpus",
    "token_type_ids",
    "use_mtp",
}


def letters(tokens: list[int]) -> str:
    return "".join(" " if token == 3 else string.ascii_lowercase[token - 4] for token in tokens)


def biases(reply: list[int]) -> list[Any]:
    return [[[reply[1]], 1.0], [[reply[0]], -9.0]]


def occurrences(presence: float, frequency: float) -> Parameters:
    """OpenAI's presence and frequency penalties, which transformers lacks."""

    def adjust(input_ids: torch.Tensor, scores: torch.Tensor) -> torch.Tensor:
        ones = torch.ones_like(input_ids, dtype=scores.dtype)
        counts = torch.zeros_like(scores).scatter_add_(1, input_ids, ones)
        return scores - frequency * counts - presence * (counts > 0)

    return {"logits_processor": [adjust]}


@pytest.mark.parametrize("name", CASES)
def test_a_parameter_does_what_generate_does(served: Served, plain: list[int], name: str) -> None:
    case = CASES[name](plain)
    others = GREEDY | case.beside
    parameter = {name: case.value}
    expected = served.text(**others | (case.options or parameter))
    assert served.reply(**others | parameter) == expected
    assert served.text(**others) != expected, "here it changes nothing"


def test_a_reply_of_a_fixed_length_ends_at_none_of_several_ends(
    served: Served, plain: list[int]
) -> None:
    ends = {"eos_token_id": [plain[7], plain[2]]}
    fixed = GREEDY | ends | {"min_new_tokens": GREEDY["max_new_tokens"]}
    assert served.reply(**fixed) == served.text(**fixed)
    refused = served.http.post(
        "/predict", json={"prompt": PROMPT, **GREEDY, **ends, "min_new_tokens": 3}
    )
    assert refused.status_code == 400
    assert "send one in eos_token_id, or ask for exactly 3 tokens" in refused.json()["error"]


@pytest.mark.parametrize(
    ("name", "value"),
    [("do_sample", True), ("temperature", 0.6), ("top_k", 6), ("top_p", 0.7)],
)
def test_tokens_are_drawn_as_often_as_generate_draws_them(
    served: Served, name: str, value: Any
) -> None:
    one = GREEDY | SAMPLED | {"max_new_tokens": 1, name: value}
    output, _ = served.generate(
        **{key: one[key] for key in one.keys() - OUR_OWN},
        output_scores=True,
        return_dict_in_generate=True,
    )
    expected = torch.softmax(output.scores[0][0].double(), dim=-1) * DRAWS
    many = one | {"num_return_sequences": SEQUENCES, "skip_special_tokens": False}
    seeds = range(0, DRAWS, SEQUENCES)
    with ThreadPoolExecutor(4) as pool:
        replies = pool.map(lambda seed: served.reply(**many, seed=seed), seeds)
    counts = Counter(chain.from_iterable(replies))
    texts = ["<unk>", "<s>", "", *map(letters, ([token] for token in range(3, VOCAB_SIZE)))]
    drawn = torch.tensor([counts.pop(text, 0) for text in texts], dtype=torch.double)
    assert not counts
    possible = expected > 0
    assert drawn[~possible].sum() == 0
    statistic = ((drawn - expected)[possible] ** 2 / expected[possible]).sum()
    freedom = possible.sum().double() - 1
    assert torch.special.gammaincc(freedom / 2, statistic / 2) > 0.001


def test_several_sequences_have_the_seeds_that_follow(served: Served) -> None:
    drawn = GREEDY | SAMPLED
    alone = [served.text(**drawn, seed=seed) for seed in (5, 6, 7)]
    assert served.reply(**drawn, seed=5, num_return_sequences=3) == alone


def test_several_sequences_are_the_best_beams(served: Served) -> None:
    search = {"max_new_tokens": 12, "do_sample": False, "num_beams": 4, "num_return_sequences": 3}
    _, best = served.generate(**search)
    texts = served.tokenizer.batch_decode(best, skip_special_tokens=True)
    assert served.reply(**GREEDY | search) == texts
    assert len(set(texts)) == 3
    assert served.reply(**search | {"skip_special_tokens": True}) == [PROMPT + t for t in texts]


def test_a_stop_string_is_cut(served: Served, plain: list[int]) -> None:
    text = letters(plain)
    assert served.reply(**GREEDY, stop=text[4:6]) == text.partition(text[4:6])[0]


def test_a_stream_holds_the_same_text(served: Served, plain: list[int]) -> None:
    body = {"prompt": PROMPT, **GREEDY, "stream": True}
    with served.http.stream("POST", "/predict", json=body) as reply:
        assert "".join(reply.iter_text()) == letters(plain)


def test_the_prompt_is_repeated_with_its_special_tokens_if_asked_for(
    served: Served, plain: list[int]
) -> None:
    text = PROMPT + letters(plain)
    whole = GREEDY | {"return_full_text": True}
    assert served.reply(**whole) == text
    assert served.reply(**whole | {"skip_special_tokens": False}) == f"<s>{text}"


@pytest.mark.parametrize("split", [False, True])
def test_a_prompt_spells_control_tokens_or_not(served: Served, split: bool) -> None:
    prompt = f"{PROMPT}</s>a"
    ids = served.tokenizer(prompt, split_special_tokens=split).input_ids
    assert (2 in ids) is not split
    expected = served.reply(**GREEDY, input_ids=ids)
    assert served.reply(**GREEDY, prompt=prompt, split_special_tokens=split) == expected


def test_a_reply_is_cut_by_time(served: Served, plain: list[int]) -> None:
    text = served.reply(**GREEDY | {"max_new_tokens": 400, "max_time": 1e-3})
    assert 1 <= len(text) < 400
    assert letters(plain).startswith(text[: len(plain)])


@pytest.mark.parametrize("row", rows("accepted"), ids=attrgetter("name"))
def test_what_is_accepted_changes_nothing(served: Served, plain: list[int], row: Row) -> None:
    prompt = served.tokenizer(PROMPT).input_ids
    given = GREEDY | {"input_ids": prompt, row.name: example(row)}
    assert served.reply(**given) == letters(plain)
    assert row.name in FOREIGN or served.tokens(**given) == plain


@pytest.mark.parametrize("row", rows("refused"), ids=attrgetter("name"))
def test_what_is_refused_says_why(served: Served, plain: list[int], row: Row) -> None:
    refusal = served.refusal(**GREEDY, **{row.name: example(row)})
    assert refusal.startswith(f"{row.name}: ")
    assert refusal.endswith(f" is refused: {row.how}")
    for value in row.neutral:
        assert served.reply(**GREEDY, **{row.name: value}) == letters(plain)


def test_every_row_is_here() -> None:
    with_tests_of_their_own = {
        "guided_decoding",  # end_to_end/test_guided_served.py
        "max_time",
        "num_return_sequences",
        "priority",  # end_to_end/test_priority_served.py
        "response_format",  # end_to_end/test_guided_served.py
        "return_full_text",
        "skip_special_tokens",
        "split_special_tokens",
        "stop",
        "stream",
    }
    of_messages = {"add_generation_prompt", "continue_final_message"}  # families/test_messages.py
    effective = {row.name for row in TABLE.values() if row.category in ("native", "derived")}
    assert effective == with_tests_of_their_own | of_messages | CASES.keys()
