"""The committed demo checkpoint answers what it was trained for, in every way it is asked."""

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Any

import pytest
import torch
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from demo.corpus import Entry, load_corpus
from demo.export import CHECKPOINT

pytestmark = [pytest.mark.slow, pytest.mark.extended]

Chat = Callable[..., str]
Reply = Callable[..., list[str]]

CORPUS = load_corpus()
PYTHON_DEVELOPER = CORPUS.systems[0]
DOCUMENT_PYTHON = "Generate markdown documentation for the following python code."
STRUCTURED = (
    "Document the code you receive in markdown, under the headings Summary, Parameters, Returns "
    "and Example."
)
BREEZE = (
    "A zephyr is a gentle, cool breeze that usually blows from the mountains or highland regions."
)
PIPE = (
    "outputs = pipe(prompt, max_new_tokens=query.max_new_tokens, do_sample=query.do_sample, "
    "temperature=query.temperature, top_k=query.top_k, top_p=query.top_p)"
)


@pytest.fixture(scope="module", autouse=True)
def two_threads() -> Iterator[None]:
    threads = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(threads)


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return AutoTokenizer.from_pretrained(CHECKPOINT, local_files_only=True)


@pytest.fixture(scope="module")
def model() -> Any:
    return AutoModelForCausalLM.from_pretrained(CHECKPOINT, local_files_only=True).eval()


@pytest.fixture(scope="module")
def reply(tokenizer: Any, model: Any) -> Reply:
    """Continue prompts; every reply must end by itself within 150 tokens."""

    def generate(prompts: list[str], batch_size: int = 64, **options: Any) -> list[str]:
        replies: dict[str, str] = {}
        by_length = sorted(set(prompts), key=len)
        for start in range(0, len(by_length), batch_size):
            texts = by_length[start : start + batch_size]
            inputs = tokenizer(texts, return_tensors="pt", padding=True)
            outputs = model.generate(
                input_ids=inputs.input_ids,
                attention_mask=inputs.attention_mask,
                max_new_tokens=150,
                **{"do_sample": False, **options},
            )
            for text, output in zip(texts, outputs, strict=True):
                new = output[inputs.input_ids.shape[1] :]
                assert tokenizer.eos_token_id in new, f"no end: {tokenizer.decode(new)!r}"
                replies[text] = tokenizer.decode(new, skip_special_tokens=True)
        return [replies[prompt] for prompt in prompts]

    return generate


@pytest.fixture(scope="module")
def chat(tokenizer: Any) -> Chat:
    """Render turns, the user's first, with the checkpoint's own chat template."""

    def render(*turns: str, system: str | None = None) -> str:
        messages = [{"role": "system", "content": system}] if system else []
        for index, turn in enumerate(turns):
            messages.append({"role": ("user", "assistant")[index % 2], "content": turn})
        rendered: str = tokenizer.apply_chat_template(
            messages, tokenize=False, add_generation_prompt=True
        )
        return rendered

    return render


def wrong(entries: Iterable[Entry], replies: Iterable[str]) -> list[tuple[str, str]]:
    """Names and replies of the entries that got a wrong reply."""
    pairs = zip(entries, replies, strict=True)
    return [(entry.name, text) for entry, text in pairs if not entry.accepts(text)]


def test_the_files_are_small_and_readable_by_all() -> None:
    files = list(CHECKPOINT.iterdir())
    assert sum(file.stat().st_size for file in files) < 25_000_000
    assert all(file.stat().st_mode & 0o444 == 0o444 for file in files)


def test_it_is_labelled_a_demo() -> None:
    assert "demo" in AutoConfig.from_pretrained(CHECKPOINT, local_files_only=True).about
    readme = CHECKPOINT.with_name("README.md").read_text(encoding="utf-8")
    assert "no real language model" in readme


def test_its_configuration_has_the_keys_of_old_and_new_transformers() -> None:
    config = json.loads((CHECKPOINT / "config.json").read_text(encoding="utf-8"))
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"]
    assert config["torch_dtype"] == config["dtype"] == "float32"
    assert config["max_position_embeddings"] == 4096


def test_it_stops_at_end_of_text_and_pads_with_another_token(model: Any, tokenizer: Any) -> None:
    assert tokenizer.eos_token == "<|endoftext|>"
    assert model.generation_config.eos_token_id == tokenizer.eos_token_id
    assert model.generation_config.pad_token_id == tokenizer.pad_token_id != tokenizer.eos_token_id


def test_role_marks_are_single_tokens_that_stay_in_decoded_text(chat: Chat, tokenizer: Any) -> None:
    ids = tokenizer.encode(chat("What is a zephyr?"))
    assert tokenizer.decode(ids, skip_special_tokens=True) == (
        "<|user|>\nWhat is a zephyr?\n<|assistant|>\n"
    )
    assert len(tokenizer.encode("<|user|>")) == 1


def test_an_unknown_role_is_refused_by_the_chat_template(tokenizer: Any) -> None:
    messages = [{"role": "tool", "content": "4"}]
    with pytest.raises(Exception, match="unknown role tool"):
        tokenizer.apply_chat_template(messages, tokenize=False)


def test_bytes_that_are_no_known_word_survive_the_tokenizer(tokenizer: Any) -> None:
    text = "naïve 風 \N{WIND BLOWING FACE} \x07\t end"
    assert tokenizer.decode(tokenizer.encode(text)) == text


def test_every_entry_answers_its_first_wordings_in_a_chat(chat: Chat, reply: Reply) -> None:
    asked = [(entry, question) for entry in CORPUS.entries for question in entry.questions[:2]]
    replies = reply([chat(question) for _, question in asked])
    assert wrong([entry for entry, _ in asked], replies) == []


def test_every_topic_answers_its_first_wording_as_a_raw_prompt(reply: Reply) -> None:
    replies = reply([entry.questions[0] for entry in CORPUS.topics])
    assert wrong(CORPUS.topics, replies) == []


def test_all_topics_but_few_answer_under_a_system_message(chat: Chat, reply: Reply) -> None:
    replies = reply([chat(e.questions[0], system=PYTHON_DEVELOPER) for e in CORPUS.topics])
    failed = wrong(CORPUS.topics, replies)
    assert len(failed) < 0.03 * len(CORPUS.topics), failed


def test_every_piece_of_code_is_documented(chat: Chat, reply: Reply) -> None:
    replies = reply([chat(entry.questions[0], system=DOCUMENT_PYTHON) for entry in CORPUS.codes])
    assert wrong(CORPUS.codes, replies) == []


def test_code_as_a_raw_prompt_is_documented(reply: Reply) -> None:
    replies = reply([entry.questions[0] for entry in CORPUS.codes])
    assert wrong(CORPUS.codes, replies) == []


def test_most_wordings_it_was_not_trained_on_are_understood(chat: Chat, reply: Reply) -> None:
    asked = [(entry, question) for entry in CORPUS.entries for question in entry.unseen]
    failed = wrong([entry for entry, _ in asked], reply([chat(question) for _, question in asked]))
    assert len(failed) < 0.1 * len(asked), failed


@pytest.mark.parametrize(
    "sampling",
    [
        {"temperature": 0.1, "top_k": 40, "top_p": 0.75},
        {"temperature": 0.7, "top_k": 50, "top_p": 0.95},
        {"temperature": 1.0, "top_k": 40, "top_p": 0.95},
    ],
    ids=str,
)
def test_sampling_keeps_the_answers(sampling: dict[str, float], chat: Chat, reply: Reply) -> None:
    torch.manual_seed(0)
    topics = CORPUS.topics[::3]
    replies = reply([chat(entry.questions[0]) for entry in topics], do_sample=True, **sampling)
    assert wrong(topics, replies) == []


def test_four_beams_keep_the_answers(chat: Chat, reply: Reply) -> None:
    topics = CORPUS.topics[::8]
    replies = reply([chat(entry.questions[0]) for entry in topics], num_beams=4)
    assert wrong(topics, replies) == []


@pytest.mark.parametrize(
    "question", ["What is the meaning of life?", "What's the meaning of life?"]
)
def test_a_raw_prompt_continues_on_a_new_line(question: str, reply: Reply) -> None:
    assert reply([question])[0].startswith("\nThere is no single agreed meaning of life.")


@pytest.mark.parametrize(
    ("turns", "phrase"),
    [
        (["What is a zephyr?", BREEZE, "What is the speed in MPH of a zephyr?"], "4 to 7 MPH"),
        (["What is a zephyr?", BREEZE, "What is the speed in MPH for a zephyr?"], "4 to 7 MPH"),
        (
            ["How much gold is too much gold?", "There is no such thing as too much gold."],
            "too much gold",
        ),
        (["What even is AGI?"], "artificial general intelligence"),
    ],
    ids=["speed of", "speed for", "gold", "AGI"],
)
def test_the_conversations_of_the_model_readmes_are_answered(
    turns: list[str], phrase: str, chat: Chat, reply: Reply
) -> None:
    assert phrase.lower() in reply([chat(*turns)])[0].lower()


@pytest.mark.parametrize("system", [PYTHON_DEVELOPER, DOCUMENT_PYTHON, STRUCTURED])
@pytest.mark.parametrize(
    "code",
    [PIPE, PIPE.replace("(", "(\n    ").replace(", ", ",\n    ").replace(")", ",\n)\n")],
    ids=["line", "black"],
)
def test_the_code_of_the_zephyr_readme_is_documented_in_markdown(
    code: str, system: str, chat: Chat, reply: Reply
) -> None:
    text = reply([chat(code, system=system)])[0]
    assert text.startswith("### `outputs = pipe(...)`")
    assert "- `temperature`:" in text
