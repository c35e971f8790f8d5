"""Light, mechanical variation of how a question is written."""

import random

from demo.corpus import Corpus


def reword(question: str, openers: tuple[str, ...], rng: random.Random) -> str:
    """Vary case, punctuation, apostrophes and blanks, add an opener, or mistype a letter."""
    if rng.random() < 0.12:
        question = rng.choice(openers) + question[0].lower() + question[1:]
    match rng.randrange(16):
        case 0 | 1 | 2:
            question = question.lower()
        case 3:
            question = question[0].lower() + question[1:]
        case 4:
            question = question.upper()
        case 5:
            question = question.title()
    match rng.randrange(12):
        case 0 | 1 | 2:
            question = question.rstrip("?!.") or question
        case 3:
            question = question.rstrip("?!.") + rng.choice(["??", "!", ".", " ?", "?!", "...", "?"])
        case 4:
            question += rng.choice([" ", "\n", "  ", " Thanks!", " Please answer."])
        case 5:
            question = _mistype(question, rng)
    if rng.random() < 0.5:
        question = question.replace("'", "\N{RIGHT SINGLE QUOTATION MARK}")
    elif rng.random() < 0.2:
        question = question.replace("'", "")
    return question


def invent(corpus: Corpus, rng: random.Random) -> str:
    """A question that nobody has written, most of it about things that do not exist."""
    unknown = corpus.unknown_question.questions
    match rng.randrange(10):
        case 0:
            return " ".join(rng.choices(unknown, k=rng.randint(2, 12)))
        case 1:
            word = rng.choice(rng.choice(unknown).split())
            return " ".join([word] * rng.randint(2, 120))
        case 2 | 3 | 4:
            tail = rng.choice(unknown).split()
            tail = tail[-max(1, len(tail) // 2) :]
        case _:
            words = [_make_word(unknown, rng) for _ in range(rng.randint(1, 3))]
            tail = [" ".join(words) + rng.choice("?? .")]
    known = rng.choice(rng.choice(corpus.topics).questions)
    head = rng.choice([known, rng.choice(unknown)]).split()
    return " ".join([*head[: rng.randint(1, 3)], *tail]).strip()


def _make_word(texts: tuple[str, ...], rng: random.Random) -> str:
    """A word made of pieces of other words."""
    pieces = []
    for _ in range(rng.randint(2, 4)):
        word = rng.choice(rng.choice(texts).rstrip("?!.").split() or ["wind"])
        start = rng.randrange(len(word))
        pieces.append(word[start : start + rng.randint(2, 4)])
    return "".join(pieces)


def _mistype(text: str, rng: random.Random) -> str:
    at = rng.randrange(len(text))
    if rng.random() < 0.5:
        return text[:at] + text[at + 1 :] or text
    return text[:at] + text[at : at + 2][::-1] + text[at + 2 :]
