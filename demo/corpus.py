"""The text that the demo model learns, read from the TOML files in `demo/corpus`."""

import tomllib
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).with_name("corpus")
TOPICS = ("winds", "project", "serving")
"""The files whose entries are questions with answers."""


@dataclass(frozen=True, slots=True)
class Entry:
    """Several ways to ask for one thing, and the one answer to all of them."""

    name: str
    questions: tuple[str, ...]
    unseen: tuple[str, ...]
    """Wordings kept out of the training; they show what is understood and what merely known."""
    answer: str
    expect: tuple[str, ...]
    """Phrases that a right answer contains."""

    def __post_init__(self) -> None:
        missing = [phrase for phrase in self.expect if phrase not in self.answer]
        if missing:
            raise ValueError(f"corpus entry {self.name!r}: expected {missing} not in its answer")

    def accepts(self, reply: str) -> bool:
        """Whether `reply` contains every expected phrase."""
        return all(phrase in reply for phrase in self.expect)


@dataclass(frozen=True, slots=True)
class Conversation:
    """Turns, the user's first, of which the last one depends on those before."""

    turns: tuple[str, ...]
    entry: Entry
    """The entry whose answer comes next."""


@dataclass(frozen=True, slots=True)
class Corpus:
    """Everything the demo model learns."""

    topics: tuple[Entry, ...]
    codes: tuple[Entry, ...]
    """Entries whose questions are pieces of Python."""
    unknown_question: Entry
    unknown_code: Entry
    conversations: tuple[Conversation, ...]
    systems: tuple[str, ...]
    code_systems: tuple[str, ...]
    code_requests: tuple[str, ...]
    """Wordings of a request to document the code that stands in place of `{code}`."""
    openers: tuple[str, ...]
    """What people say before the question."""

    @property
    def entries(self) -> tuple[Entry, ...]:
        """All entries, those for the unknown included."""
        return (*self.topics, *self.codes, self.unknown_question, self.unknown_code)

    @property
    def text(self) -> list[str]:
        """All distinct texts, for the training of the tokenizer."""
        texts = [*self.systems, *self.code_systems, *self.code_requests, *self.openers]
        for entry in self.entries:
            texts += [*entry.questions, entry.answer]
        for conversation in self.conversations:
            texts += conversation.turns
        return texts


def load_corpus(folder: Path = FOLDER) -> Corpus:
    """Read the corpus.

    Args:
        folder: Where the TOML files are.

    Raises:
        ValueError: An entry's answer lacks a phrase that is expected of it.
        KeyError: A field is missing, or a conversation names an entry that does not exist.
    """
    topics = tuple(entry for file in TOPICS for entry in _entries(_read(folder, file)))
    unknown_question, unknown_code = _entries(_read(folder, "unknown"))
    by_name = {entry.name: entry for entry in topics}
    talk = _read(folder, "conversations")
    return Corpus(
        topics=topics,
        codes=_entries(_read(folder, "code")),
        unknown_question=unknown_question,
        unknown_code=unknown_code,
        conversations=tuple(
            Conversation(tuple(item["turns"]), by_name[item["answers_like"]])
            for item in talk["conversations"]
        ),
        systems=tuple(talk["systems"]),
        code_systems=tuple(talk["code_systems"]),
        code_requests=tuple(talk["code_requests"]),
        openers=tuple(talk["openers"]),
    )


def _read(folder: Path, name: str) -> dict[str, Any]:
    return tomllib.loads((folder / f"{name}.toml").read_text(encoding="utf-8"))


def _entries(tables: dict[str, Any]) -> tuple[Entry, ...]:
    return tuple(
        Entry(
            name=name,
            questions=tuple(table["questions"]),
            unseen=tuple(table.get("unseen", ())),
            answer=table["answer"].strip(),
            expect=tuple(table["expect"]),
        )
        for name, table in tables.items()
    )
