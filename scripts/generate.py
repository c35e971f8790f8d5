"""Writes every file that is made from a table, the catalog or the settings: `make generate`."""

import textwrap
from collections.abc import Iterator
from pathlib import Path

from aeolus_contract.parameters import engine_parameters, sampling_parameters
from aeolus_contract.rendering import with_tensors
from aeolus_contract.steps import ENSEMBLE, steps
from build_engines.documentation import render_document
from shim.pages.configuration import configuration_page
from shim.parameters.page import generate_page
from shim.parameters.table import Row, generate_map

ROOT = Path(__file__).parents[1]
MADE = "made by `make generate`"
PYTHON_TYPES = {"FP32": "float", "INT32": "int", "UINT64": "int"}
FIELD_TYPES = {
    "boolean": "bool",
    "early_stopping": 'bool | Literal["never"]',
    "guided_decoding": "GuidedDecoding",
    "integer": "int",
    "logit_bias": "dict[str, float]",
    "mask": "list[int]",
    "number": "float",
    "response_format": "ResponseFormat",
    "sequence_bias": "list[tuple[list[int], float]]",
    "string": "str",
    "strings": "list[str]",
    "token_ids": "list[int]",
    "token_lists": "list[list[int]]",
    "tokens": "list[int]",
}
"""The Python type of a request's parameter, by the table's `type`."""
CLIENT_TYPES = FIELD_TYPES | {
    "guided_decoding": "Mapping[str, Any]",
    "logit_bias": "Mapping[str, float]",
    "object": "Mapping[str, Any]",
    "response_format": "Mapping[str, Any]",
    "sequence_bias": "Sequence[Sequence[Any]]",
    "strings": "str | Sequence[str]",
    "token_ids": "int | Sequence[int]",
    "token_lists": "Sequence[Sequence[int]]",
}
"""The same as a caller of the client may write it."""
NOT_BY_NAME = (
    # The prompt, which the client's methods take by itself.
    *("inputs", "input_ids", "attention_mask"),
    # What the method decides: how the reply comes, and that it is one text without the prompt.
    *("stream", "return_full_text", "num_return_sequences"),
    # The parameters it holds are given by their names.
    "generation_config",
)
"""Parameters of the service that no caller of the client gives."""
DOCSTRING_WIDTH = 93


def generated_files() -> Iterator[tuple[Path, str]]:
    """Yield every generated file with its content."""
    for model in (ENSEMBLE, *(each.model for each in steps())):
        path = ROOT / "model_repository" / model / "config.pbtxt"
        yield path, with_tensors(path.read_text(encoding="utf-8"), model)
    client = ROOT / "client" / "aeolus_client"
    yield client / "sampling_values.py", sampling_values()
    yield client / "parameters.py", client_parameters()
    yield ROOT / "engine_step" / "sampling_config.py", sampling_config()
    yield ROOT / "shim" / "parameters" / "fields.py", parameter_fields()
    docs = ROOT / "docs"
    yield docs / "configuration.md", configuration_page()
    yield docs / "engine-builds.md", render_document()
    yield docs / "generate-parameters.md", generate_page()


def sampling_values() -> str:
    """Return the client's fields, one for each tensor of the ensemble that ours sends."""
    fields = [
        f"    {row.name}: {PYTHON_TYPES[row.dtype]} | None = None"
        for row in sampling_parameters().values()
        if not row.from_other_clients
    ]
    return f'''"""The sampling values of a request; {MADE}."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class SamplingValues:
    """Each is the ensemble's tensor of its name; `None` means the server's default."""

{chr(10).join(fields)}
'''


def client_parameters() -> str:
    """Return what the client's methods take by name, each with the table's help."""
    rows = [
        row for row in generate_map().values() if _is_served(row) and row.name not in NOT_BY_NAME
    ]
    fields = [f"    {row.name}: {CLIENT_TYPES[row.type]}\n{_docstring(row.how)}" for row in rows]
    return f'''"""The parameters of a generation, by their Hugging Face names; {MADE}."""

from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypedDict


class GenerateParameters(TypedDict, total=False):
    """What may be given to `generate`, `stream` and `chat`; what is left out the server decides.

    The server checks types and ranges: docs/generate-parameters.md.
    """

{chr(10).join(fields)}
'''


def _docstring(text: str) -> str:
    """Return a field's docstring; one of several lines has its end on a line of its own."""
    line = f'    """{text}"""'
    if len(line) <= 100:
        return line
    wrapped = textwrap.fill(text, DOCSTRING_WIDTH, break_long_words=False, break_on_hyphens=False)
    return textwrap.indent(f'"""{wrapped}\n"""', "    ")


def sampling_config() -> str:
    """Return the engine's SamplingConfig, with the C++ backend's defaults."""
    fields = []
    for row, engine in engine_parameters():
        kind = PYTHON_TYPES[row.dtype]
        default = "None" if engine.default is None else repr(engine.default)
        annotation = f"{kind} | None" if engine.default is None else kind
        fields.append(f"    {engine.field}: {annotation} = {default}")
    return f'''"""How an engine chooses the next token; {MADE}."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SamplingConfig:
    """How the next token is chosen, with the C++ backend's defaults.

    Greedy when `top_k` is 1, or when `top_k` is 0 and `top_p` is 0; beam search when
    `beam_width` is above 1; otherwise a draw from the top-k / top-p distribution
    (`top_k` 0: no limit, `top_p` 0 or 1: no limit).

    After each token `top_p` is multiplied by `top_p_decay`, though not below `top_p_min`, and is
    itself again after the token `top_p_reset_id`. In a beam search row j of a step is ranked as if
    its log-probability were higher by j times `beam_search_diversity_rate`; `early_stopping` 1
    stops with `beam_width` hypotheses, 0 by the heuristic, 2 never early.

    `top_logprobs` is the number of likeliest tokens reported in the place of each generated one;
    `prompt_logprobs` that of each token of the prompt, whose own are reported unless it is -1.
    """

{chr(10).join(fields)}
'''


def parameter_fields() -> str:
    """Return the fields of the shim's Parameters that the table serves."""
    rows = [row for row in generate_map().values() if _is_field(row)]
    fields = [f"    {row.name}: {FIELD_TYPES[row.type]} | None = None" for row in rows]
    return f'''"""The parameters that are served, typed; made from the tables by `make generate`."""

from typing import Literal

from pydantic import BaseModel

from shim.parameters.guides import GuidedDecoding, ResponseFormat


class ParameterFields(BaseModel):
    """`None` means not given."""

{chr(10).join(fields)}
'''


def _is_served(row: Row) -> bool:
    return row.category in ("native", "derived")


def _is_field(row: Row) -> bool:
    return _is_served(row) and row.type != "object"  # a generation_config is merged before


if __name__ == "__main__":
    for path, content in generated_files():
        path.write_text(content, encoding="utf-8")
