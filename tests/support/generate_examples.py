"""A value of each parameter in the table of generate() parameters."""

from typing import Any

from shim.parameters.table import Category, Row, generate_map

TABLE = generate_map()
EXAMPLES: dict[str, Any] = {
    "any": [[1]],
    "boolean": True,
    "early_stopping": "never",
    "integer": 7,
    "number": 0.5,
    "object": {"a": 1},
    "logit_bias": {"5": 1},
    "mask": [1],
    "sequence_bias": [[[5], 1.0]],
    "string": "x",
    "strings": ["x"],
    "tokens": [5],
    "token_ids": [5],
    "token_lists": [[5, 6]],
}


def rows(category: Category) -> list[Row]:
    return [row for row in TABLE.values() if row.category == category]


def example(row: Row) -> Any:
    return row.choices[0] if row.choices else EXAMPLES[row.type]
