"""Patterns as xgrammar 0.1.25 keeps to them.

It puts the pattern of a string in JSON between quotes as it stands: one that lets a quote, a
backslash or a control character come would make text that is no JSON, or end the string. And of a
character beyond ASCII in a class it takes the lowest byte: Cyrillic letters let digits come.
"""

import re
from re import _constants as ops
from re import _parser
from typing import Any

from guided_decoding.guide import GuideError

Ranges = list[tuple[int, int]]

LAST = 0x10FFFF
LAST_ASCII = 0x7F
MAX_LISTED = 200
"""Characters beyond ASCII in one class; of more, none may come, unless all of them may."""
ESCAPED: Ranges = [(0x00, 0x1F), (0x22, 0x22), (0x5C, 0x5C), (0xD800, 0xDFFF)]
"""What JSON writes by a backslash, and halves of surrogate pairs, which are no characters."""
CATEGORIES: dict[Any, Ranges] = {
    ops.CATEGORY_DIGIT: [(0x30, 0x39)],
    ops.CATEGORY_WORD: [(0x30, 0x39), (0x41, 0x5A), (0x5F, 0x5F), (0x61, 0x7A)],
    ops.CATEGORY_SPACE: [(0x09, 0x0D), (0x20, 0x20), (0xA0, 0xA0), (0x2028, 0x2029)],
}
"""As JavaScript's expressions mean them, which are those of JSON schemas; of spaces the usual."""
UNUSUAL_SPACES: Ranges = [
    *((code, code) for code in (0x85, 0x1680, 0x202F, 0x205F, 0x3000, 0xFEFF)),
    (0x2000, 0x200A),
]
NEGATED = {
    ops.CATEGORY_NOT_DIGIT: ops.CATEGORY_DIGIT,
    ops.CATEGORY_NOT_WORD: ops.CATEGORY_WORD,
    ops.CATEGORY_NOT_SPACE: ops.CATEGORY_SPACE,
}
NUMBER = re.compile(r"\\[xuU]\{?([0-9a-fA-F]{2,8})")
SPECIAL = frozenset("\\^$.|?*+()[]{}-/")


def narrowed(pattern: str) -> str:
    """Return an expression of JSON's plain characters whose every match matches `pattern`.

    Raises:
        GuideError: there is none, or the pattern has what xgrammar cannot follow; the text says so
            as something of the pattern.
    """
    try:
        tree = [*_parser.parse(pattern)]
    except (re.error, RecursionError, OverflowError) as error:
        raise GuideError(f"is no regular expression: {error}") from error
    anchors = (ops.AT_BEGINNING, ops.AT_END)
    if tree and tree[0] == (ops.AT, anchors[0]):
        tree = tree[1:]
    if tree and tree[-1] == (ops.AT, anchors[1]):
        tree = tree[:-1]
    return _sequence(tree)


def _sequence(tree: Any) -> str:
    return "".join(_part(kind, value) for kind, value in tree)


def _part(kind: Any, value: Any) -> str:
    match kind:
        case ops.LITERAL:
            return _character_class([(value, value)])
        case ops.NOT_LITERAL:
            return _character_class(_without([(0, LAST)], [(value, value)]))
        case ops.ANY:
            return _character_class([(0, LAST)])
        case ops.IN:
            return _character_class(_ranges(value))
        case ops.BRANCH:
            return f"({'|'.join(_sequence(each) for each in value[1])})"
        case ops.SUBPATTERN:
            _, added, removed, inner = value
            if not added and not removed:
                return f"({_sequence(inner)})"
        case ops.MAX_REPEAT | ops.MIN_REPEAT:
            least, most, inner = value
            limit = "" if most is ops.MAXREPEAT else int(most)
            return f"({_sequence(inner)}){{{least},{limit}}}"
    raise GuideError(f"has {str(kind).lower()}, which a reply cannot be held to here")


def _ranges(items: Any) -> Ranges:
    found: Ranges = []
    is_negated = False
    for kind, value in items:
        match kind:
            case ops.NEGATE:
                is_negated = True
            case ops.LITERAL:
                found.append((value, value))
            case ops.RANGE:
                found.append(value)
            case ops.CATEGORY if value in CATEGORIES:
                found += CATEGORIES[value]
            case ops.CATEGORY:
                found += _without([(0, LAST)], CATEGORIES[NEGATED[value]] + UNUSUAL_SPACES)
    return _without([(0, LAST)], found) if is_negated else found


def _without(ranges: Ranges, removed: Ranges) -> Ranges:
    for low, high in removed:
        ranges = [
            part
            for first, last in ranges
            for part in ((first, min(last, low - 1)), (max(first, high + 1), last))
            if part[0] <= part[1]
        ]
    return ranges


def _character_class(ranges: Ranges) -> str:
    kept = _without(ranges, ESCAPED)
    if not _without(_without([(LAST_ASCII + 1, LAST)], ESCAPED), kept):
        missing = _without([(0, LAST_ASCII)], kept)
        return f"[^{_listed(missing)}]"
    others = _without(kept, [(0, LAST_ASCII)])
    listed = [chr(code) for low, high in others[:MAX_LISTED] for code in range(low, high + 1)][
        : MAX_LISTED + 1
    ]
    plain = _without(kept, [(LAST_ASCII + 1, LAST)])
    is_one = len(plain) == 1 and plain[0][0] == plain[0][1]
    choices = [_listed(plain) if is_one else f"[{_listed(plain)}]"] if plain else []
    if len(listed) <= MAX_LISTED:
        choices += listed
    if not choices:
        raise GuideError("needs characters that no reply can be held to here, or that JSON escapes")
    return choices[0] if len(choices) == 1 else f"({'|'.join(choices)})"


def _listed(ranges: Ranges) -> str:
    return "".join(
        _escaped(low) if low == high else f"{_escaped(low)}-{_escaped(high)}"
        for low, high in ranges
    )


def _escaped(code: int) -> str:
    character = chr(code)
    if code < ord(" ") or code == LAST_ASCII:
        return f"\\x{code:02x}"
    return f"\\{character}" if character in SPECIAL else character


def check_classes(text: str, quotes: str = "") -> None:
    """Check that no class of an expression, or of a grammar, has characters beyond ASCII.

    Args:
        text: the expression or grammar.
        quotes: what its literal texts are between.

    Raises:
        GuideError: one has; the text says where.
    """
    quote, is_class, position = "", False, 0
    while position < len(text):
        begin, character = position, text[position]
        if character == "\\":
            escape = NUMBER.match(text, position)
            code = int(escape[1], 16) if escape else 0
            position += escape.end() - position - 1 if escape else 1
        else:
            code = ord(character)
        if is_class and code > LAST_ASCII:
            raise GuideError(
                f"a class of characters has one beyond ASCII at character {begin}; write them as"
                " choices, such as (a|b)"
            )
        if character in quotes and not is_class:
            quote = "" if quote == character else quote or character
        elif not quote and character in "[]":
            is_class = character == "["
        position += 1
