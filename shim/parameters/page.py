"""docs/generate-parameters.md, made from the tables by `make generate`."""

import json
from collections.abc import Iterable, Iterator

from shim.parameters.table import Category, Group, Row, generate_map, openai_map, responses_map

INTRODUCTION = """\
# The parameters of generate()

Made by `make generate` from shim/parameters/*.toml and contract/aeolus_contract/parameters.toml;
do not edit.

The READMEs promise "any parameter supported by Hugging Face's Transformers.generate". Each of them
is one of these:

- **native**: the engine has it; it is sent under the name in the column "becomes".
- **derived**: worked out on the way, chiefly into what "becomes" names.
- **accepted**: taken and without effect, because it cannot change the result.
- **refused**: status 422 (400 on OpenAI's routes) with parameter, value and reason, unless the
  value means the same as leaving it out.

An unknown name is refused with the nearest known one. null always means not given. What a request
leaves open, the model's README decides.

On OpenAI's routes all of them may be sent beside OpenAI's own, for example in the `extra_body` of
OpenAI's client; there `n` and `echo` stand for `num_return_sequences` and `return_full_text`. What
such a request leaves open the README decides too (not OpenAI's temperature 1), but for the length,
which is all that fits in a chat and 16 tokens in a completion, and for the one beam.
"""
TITLES: dict[Group, str] = {
    "GenerationConfig": "Fields of GenerationConfig",
    "generate": "Arguments of generate()",
    "extension": "Beyond generate()",
    "openai": "OpenAI's chat completions, completions and responses",
    "responses": "OpenAI's responses",
}
CATEGORIES: tuple[Category, ...] = ("native", "derived", "accepted", "refused")


def generate_page() -> str:
    """Return the page in markdown."""
    rows = {**generate_map(), **openai_map(), **responses_map()}.values()
    sections = [
        _section(title, [row for row in rows if row.group == group])
        for group, title in TITLES.items()
    ]
    return "\n".join([INTRODUCTION, *sections])


def _section(title: str, rows: list[Row]) -> str:
    ordered = sorted(rows, key=lambda row: CATEGORIES.index(row.category))
    lines = [
        f"## {title}\n",
        "| parameter | category | type | neutral | becomes | what it does, or why not |",
        "|---|---|---|---|---|---|",
        *map(_line, ordered),
    ]
    return "\n".join(lines) + "\n"


def _line(row: Row) -> str:
    cells = [
        f"`{row.name}`",
        row.category,
        " ".join(_type(row)),
        _values(row.neutral),
        f"`{row.becomes}`" if row.becomes else "",
        " ".join([row.how, *_limits(row)]),
    ]
    return f"| {' | '.join(cells)} |"


def _type(row: Row) -> Iterator[str]:
    yield row.type.replace("_", " ")
    if row.more_than is not None:
        yield f"> {row.more_than:g}"
    if row.at_least is not None:
        yield f">= {row.at_least:g}"
    if row.at_most is not None and row.at_most < 2**31 - 1:
        yield f"<= {row.at_most:g}"
    if row.choices:
        yield _values(row.choices)


def _limits(row: Row) -> Iterator[str]:
    if row.when == "sampling":
        yield "Only where tokens are sampled."
    elif row.when == "beams":
        yield "Only in a beam search."
    for engine, only in row.only.items():
        yield f"Behind {engine} refused unless it is {row.decode(only.value)}: {only.reason}."


def _values(values: Iterable[object]) -> str:
    return ", ".join(f"`{json.dumps(value)}`" for value in values)
