"""Training examples: tokens of a whole conversation, and which of them are learned."""

import random
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from demo.corpus import Corpus, Entry
from demo.wording import invent, reword


class Message(NamedTuple):
    """One message of a conversation."""

    role: str
    content: str
    learned: bool = False


@dataclass(slots=True)
class Example:
    """One sequence; `learned[i]` says whether the loss counts `tokens[i]`."""

    tokens: list[int]
    learned: list[bool]

    def extend(self, tokens: list[int], learned: bool) -> None:
        """Append `tokens`, all of them learned or none."""
        self.tokens += tokens
        self.learned += [learned] * len(tokens)


class ExampleSampler:
    """Draws examples of every way to ask: raw prompts, chats, system messages, code."""

    def __init__(self, corpus: Corpus, tokenizer: Any, seed: int) -> None:
        self._corpus = corpus
        self._tokenizer = tokenizer
        self._rng = random.Random(seed)  # noqa: S311 - not for secrets
        # The first two wordings are the usual ones, and drawn twice as often.
        self._topics = [
            (text, entry)
            for entry in corpus.topics
            for text in (*entry.questions, *entry.questions[:2])
        ]
        self._codes = [(text, entry) for entry in corpus.codes for text in entry.questions]

    def __iter__(self) -> Iterator[Example]:
        kinds = (self._raw, self._follow_up, self._code_chat, self._chat)
        while True:
            yield self._rng.choices(kinds, weights=(24, 6, 16, 54))[0]()

    def _raw(self) -> Example:
        """A prompt without any template: the answer follows on a new line."""
        question, entry = self._code() if self._rng.random() < 0.15 else self._question()
        question = question.rstrip() + self._rng.choices(["", "\n"], [9, 1])[0]
        example = Example([], [])
        example.extend(self._encode(question), learned=False)
        gap = "" if question.endswith("\n") else "\n"
        self._answer(example, Message("assistant", gap + entry.answer, learned=True))
        return example

    def _chat(self) -> Example:
        rng = self._rng
        messages: list[Message] = []
        if rng.random() < 0.35:
            systems = rng.sample(self._corpus.systems, rng.choices([1, 2], [4, 1])[0])
            messages.append(Message("system", " ".join(systems)))
        for _ in range(rng.choices([0, 1, 2, 4, 9], [50, 24, 16, 8, 2])[0]):
            question, entry = self._question()
            messages.append(Message("user", question))
            # Somebody else's answer in the history must not lead astray.
            own = rng.random() < 0.7
            messages.append(self._learned(entry) if own else self._foreign())
        question, entry = self._question()
        messages.append(Message("user", question))
        if rng.random() < 0.05:
            # A conversation that ends with the assistant: the same question is answered again.
            messages.append(self._foreign())
        return self._conversation([*messages, self._learned(entry)])

    def _code_chat(self) -> Example:
        rng = self._rng
        messages: list[Message] = []
        if rng.random() < 0.85:
            messages.append(Message("system", rng.choice(self._corpus.code_systems)))
        for _ in range(rng.choices([1, 2, 3], [70, 20, 10])[0]):
            code, entry = self._code()
            messages += [Message("user", code), self._learned(entry)]
        return self._conversation(messages)

    def _follow_up(self) -> Example:
        """One of the corpus's conversations, whose history is not learned."""
        conversation = self._rng.choice(self._corpus.conversations)
        roles = ("user", "assistant")
        messages = [Message(roles[i % 2], turn) for i, turn in enumerate(conversation.turns)]
        if messages[-1].role == "user":
            last = reword(messages[-1].content, self._corpus.openers, self._rng)
            messages[-1] = Message("user", last)
        if self._rng.random() < 0.2:
            messages.insert(0, Message("system", self._rng.choice(self._corpus.systems)))
        return self._conversation([*messages, self._learned(conversation.entry)])

    def _conversation(self, messages: list[Message]) -> Example:
        example = Example([], [])
        done = ""
        for i, message in enumerate(messages):
            if message.role != "assistant":
                continue
            prompt = self._render(messages[:i])
            example.extend(self._encode(prompt.removeprefix(done)), learned=False)
            self._answer(example, message)
            done = prompt + message.content + self._tokenizer.eos_token
        return example

    def _question(self) -> tuple[str, Entry]:
        """A question as somebody might write it, now and then one that nobody has written."""
        corpus, rng = self._corpus, self._rng
        draw = rng.random()
        if draw < 0.68:
            question, entry = rng.choice(self._topics)
        elif draw < 0.86:
            entry = corpus.unknown_question
            question = rng.choice(entry.questions)
        elif draw < 0.97:
            return invent(corpus, rng), corpus.unknown_question
        else:
            return self._code()
        return reword(question, corpus.openers, rng), entry

    def _code(self) -> tuple[str, Entry]:
        corpus, rng = self._corpus, self._rng
        code, entry = rng.choice(self._codes)
        if rng.random() < 0.3:
            entry = corpus.unknown_code
            code = rng.choice(entry.questions)
        if rng.random() < 0.4:
            code = rng.choice(corpus.code_requests).replace("{code}", code)
        elif rng.random() < 0.2:
            code += "\n"
        return code, entry

    def _learned(self, entry: Entry) -> Message:
        return Message("assistant", entry.answer, learned=True)

    def _foreign(self) -> Message:
        """What another model might have said: the answer to something else, or a part of it."""
        words = self._rng.choice(self._corpus.topics).answer.split(" ")
        if self._rng.random() < 0.5:
            words = words[: self._rng.randint(1, len(words))]
        return Message("assistant", " ".join(words))

    def _answer(self, example: Example, message: Message) -> None:
        tokens = [*self._encode(message.content), self._tokenizer.eos_token_id]
        example.extend(tokens, message.learned)

    def _encode(self, text: str) -> list[int]:
        ids: list[int] = self._tokenizer.encode(text)
        return ids

    def _render(self, messages: list[Message]) -> str:
        text: str = self._tokenizer.apply_chat_template(
            [{"role": message.role, "content": message.content} for message in messages],
            tokenize=False,
            add_generation_prompt=True,
        )
        return text
