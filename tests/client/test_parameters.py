"""The names that the client offers are those of the service's table."""

from aeolus_client.parameters import GenerateParameters
from aeolus_client.triton_backend import FIELDS
from shim.parameters.table import generate_map

NOT_OFFERED = {
    *(
        "attention_mask",
        "generation_config",
        "input_ids",
        "inputs",
        "num_return_sequences",
        "pad_token_id",
    ),
    *("return_full_text", "stream", "renormalize_logits", "bos_token_id"),
}
"""What is the client's own business, or has no effect on a reply."""


def test_every_name_is_a_parameter_of_the_service() -> None:
    names = {name for name, row in generate_map().items() if row.category != "refused"}
    offered = set(GenerateParameters.__annotations__)
    assert offered - {"response_format"} <= names
    assert set(FIELDS) <= offered


def test_everything_that_shapes_a_reply_is_offered() -> None:
    shaping = {
        name for name, row in generate_map().items() if row.category in ("native", "derived")
    }
    assert shaping - NOT_OFFERED <= set(GenerateParameters.__annotations__)
