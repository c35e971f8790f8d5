"""The demo corpus is consistent, and training examples are what the model will be served."""

import random
from itertools import islice
from typing import Any

import pytest

from demo.batches import IGNORED, make_batches
from demo.corpus import Corpus, Entry, load_corpus
from demo.examples import Example, ExampleSampler
from demo.tokenizer import END_OF_TEXT, train_tokenizer
from demo.wording import reword


@pytest.fixture(scope="module")
def corpus() -> Corpus:
    return load_corpus()


@pytest.fixture(scope="module")
def tokenizer(corpus: Corpus) -> Any:
    return train_tokenizer(corpus.text, vocab_size=1024)


def learned_texts(example: Example, tokenizer: Any) -> list[str]:
    """The learned stretches of an example, as text."""
    texts: list[str] = []
    stretch: list[int] = []
    for token, learned in zip([*example.tokens, 0], [*example.learned, False], strict=True):
        if learned:
            stretch.append(token)
        elif stretch:
            texts.append(tokenizer.decode(stretch))
            stretch = []
    return texts


def test_an_entry_whose_answer_lacks_an_expected_phrase_is_refused() -> None:
    with pytest.raises(ValueError, match=r"'winds': expected \['calm'\]"):
        Entry("winds", ("What blows?",), (), "A storm.", ("calm",))


def test_no_wording_leads_to_two_answers(corpus: Corpus) -> None:
    seen: dict[str, str] = {}
    for entry in corpus.entries:
        for question in (*entry.questions, *entry.unseen):
            assert seen.setdefault(question, entry.name) == entry.name


def test_unseen_wordings_are_not_trained(corpus: Corpus) -> None:
    for entry in corpus.entries:
        assert not set(entry.unseen) & set(entry.questions)


def test_rewording_keeps_a_question_that_is_not_empty(corpus: Corpus) -> None:
    rng = random.Random(0)
    for entry in corpus.topics:
        for question in entry.questions:
            assert reword(question, corpus.openers, rng).strip()


def test_exactly_answers_of_the_corpus_are_learned_each_with_its_end(
    corpus: Corpus, tokenizer: Any
) -> None:
    answers = {entry.answer + END_OF_TEXT for entry in corpus.entries}
    for example in islice(ExampleSampler(corpus, tokenizer, seed=0), 200):
        texts = learned_texts(example, tokenizer)
        assert texts
        assert {text.removeprefix("\n") for text in texts} <= answers


def test_conversations_are_tokenized_as_the_chat_template_renders_them(
    corpus: Corpus, tokenizer: Any
) -> None:
    chats = 0
    for example in islice(ExampleSampler(corpus, tokenizer, seed=1), 200):
        text = tokenizer.decode(example.tokens)
        if not text.startswith("<|"):
            continue
        chats += 1
        messages = []
        for part in text.split(END_OF_TEXT)[:-1]:
            role, content = part.removeprefix("\n").split("|>\n", maxsplit=1)
            messages.append({"role": role.removeprefix("<|"), "content": content})
        rendered = tokenizer.apply_chat_template(messages, tokenize=False)
        assert rendered == text + "\n"
        assert tokenizer.encode(rendered.removesuffix("\n")) == example.tokens
    assert chats > 50


def test_the_same_seed_draws_the_same_examples(corpus: Corpus, tokenizer: Any) -> None:
    first, second = (
        [e.tokens for e in islice(ExampleSampler(corpus, tokenizer, seed=3), 20)] for _ in range(2)
    )
    assert first == second


def test_labels_are_the_learned_next_tokens(corpus: Corpus, tokenizer: Any) -> None:
    pad = tokenizer.pad_token_id
    examples = islice(ExampleSampler(corpus, tokenizer, seed=4), 4 * 32)
    batch = next(make_batches(examples, size=4, pad=pad, seed=0))
    assert batch.input_ids.shape == batch.labels.shape
    learned = batch.labels != IGNORED
    shifted = learned[:, :-1]
    assert (batch.labels[:, :-1][shifted] == batch.input_ids[:, 1:][shifted]).all()
    assert not (batch.labels == pad).any()
