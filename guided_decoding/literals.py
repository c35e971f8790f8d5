"""Choices between literals, written so that xgrammar 0.1.25 keeps to them.

Of literals that begin alike it can let the end of one follow the beginning of another: of "a", "c",
"b", "bc" and "cacb" it lets "bcb" come. It does not where every choice is made by one character.
"""

import re
from itertools import takewhile

_LITERAL = r'"(?:[^"\\]|\\.)*"'
_CHOICES = re.compile(rf"^(\w+) ::= (\({_LITERAL}\)(?: \| \({_LITERAL}\))+) *$", re.MULTILINE)
_CHARACTER = re.compile(r"\\(?:x[0-9a-fA-F]{2}|u[0-9a-fA-F]{4}|U[0-9a-fA-F]{8}|.)|[^\\]", re.DOTALL)

_Word = tuple[str, ...]
"""The characters of a literal, each as the grammar writes it."""


def with_one_choice_at_a_time(grammar: str) -> str:
    """Return a grammar in EBNF whose rules that are choices between literals are written anew."""
    return _CHOICES.sub(lambda rule: f"{rule[1]} ::= {_choice(_words(rule[2]))}", grammar)


def _words(choices: str) -> list[_Word]:
    literals = re.findall(_LITERAL, choices)
    return [tuple(_CHARACTER.findall(each[1:-1])) for each in dict.fromkeys(literals)]


def _choice(words: list[_Word]) -> str:
    by_first: dict[str, list[_Word]] = {}
    for word in filter(None, words):
        by_first.setdefault(word[0], []).append(word)
    choices = " | ".join(map(_continued, by_first.values()))
    return f"({choices})?" if () in words else f"({choices})"


def _continued(words: list[_Word]) -> str:
    """Return what begins with the same character: what they have in common, then the choice."""
    alike = takewhile(lambda characters: len(set(characters)) == 1, zip(*words, strict=False))
    common = sum(1 for _ in alike)
    literal = f'"{"".join(words[0][:common])}"'
    rests = [word[common:] for word in words]
    return literal if rests == [()] else f"{literal} {_choice(rests)}"
