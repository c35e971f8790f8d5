"""What a conversion writes for the real shapes is what TensorRT-LLM expects."""

import json
from pathlib import Path
from typing import Any

import pytest
from safetensors import safe_open

from build_engines.checkpoint.convert import convert, plan_conversion
from build_engines.verify.directory import verify
from catalog import ModelEntry, load_catalog
from support.sparse_checkpoints import conversion_of, make_sparse_checkpoint

HERE = Path(__file__).parent
CONTRACT: dict[str, Any] = json.loads((HERE / "trtllm_contract.json").read_text())["models"]
CONFIGS: dict[str, Any] = json.loads((HERE / "huggingface_configs.json").read_text())

CASES = [(name, int(tp_size)) for name, by_tp in CONTRACT.items() for tp_size in by_tp]


def model_of(name: str) -> ModelEntry:
    return load_catalog()["mistral-7b" if name.startswith("mistral-7b") else name]


def expected_shapes(contract: dict[str, Any], num_layers: int) -> dict[str, list[int]]:
    layers = {
        f"transformer.layers.{layer}.{name}": shape
        for layer in range(num_layers)
        for name, shape in contract["layer"].items()
    }
    return {**contract["top"], **layers}


@pytest.mark.parametrize(("name", "tp_size"), CASES)
def test_the_planned_checkpoint_is_the_expected_one(
    tmp_path: Path, name: str, tp_size: int
) -> None:
    contract = CONTRACT[name][str(tp_size)]
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS[name]))
    dtype = contract["config"]["dtype"]
    conversion = conversion_of(model_of(name), tp_size=tp_size, dtype=dtype)
    config, layout = plan_conversion(tmp_path, conversion)
    assert config.model_dump() == contract["config"]
    shapes = {tensor: list(shape) for tensor, shape in layout.shapes.items()}
    assert shapes == expected_shapes(contract, config.num_hidden_layers)
    assert len(shapes) == contract["tensors_per_rank"]
    assert layout.elements_per_rank == contract["elements_per_rank"]


def test_the_70b_on_two_ranks_has_the_known_size(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS["llama-2-70b"]))
    model = load_catalog()["llama-2-70b"]
    _, layout = plan_conversion(tmp_path, conversion_of(model))
    assert (layout.num_ranks, len(layout.tensors)) == (2, 563)
    assert layout.elements_per_rank == 34_620_055_552


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "tp_size"),
    [
        ("stablelm-zephyr-3b", 2),
        ("zephyr-7b-beta", 1),
        ("mistral-7b-v0.1", 1),
        ("llama-3-8b-instruct", 1),
        ("llama-2-70b", 2),
    ],
)
def test_one_layer_of_the_real_size_is_written_as_planned(
    tmp_path: Path, name: str, tp_size: int
) -> None:
    model = model_of(name)
    # A small vocabulary: the embeddings would be most of the bytes.
    source = CONFIGS[name] | {"num_hidden_layers": 1, "vocab_size": 32}
    checkpoint = make_sparse_checkpoint(tmp_path / "source", model, source)
    output = tmp_path / "converted"
    convert(model, checkpoint, output, tp_size=tp_size, dtype="bfloat16")
    contract = CONTRACT[name][str(tp_size)]
    config = json.loads((output / "config.json").read_text())
    changed = {"num_hidden_layers": 1, "vocab_size": 32, "dtype": "bfloat16"}
    assert config == contract["config"] | changed
    for rank in range(tp_size):
        with safe_open(output / f"rank{rank}.safetensors", framework="pt") as file:
            for tensor, shape in expected_shapes(contract, 1).items():
                stored = file.get_slice(tensor)
                if tensor.startswith("transformer.layers."):
                    assert stored.get_shape() == shape
                assert stored.get_dtype() == "BF16"
    assert verify(output).ok


@pytest.mark.parametrize(("quantization", "algorithm"), [("int8", "W8A16"), ("int4", "W4A16")])
@pytest.mark.parametrize("name", ["stablelm-zephyr-3b", "mistral-7b-v0.1", "llama-2-70b"])
def test_weight_only_quantization_is_announced_and_changes_no_weight(
    tmp_path: Path, name: str, quantization: str, algorithm: str
) -> None:
    (tmp_path / "config.json").write_text(json.dumps(CONFIGS[name]))
    plain = plan_conversion(tmp_path, conversion_of(model_of(name)))
    quantized = plan_conversion(tmp_path, conversion_of(model_of(name), quantization=quantization))
    assert quantized[1] == plain[1]
    expected = plain[0].model_dump()
    expected["quantization"]["quant_algo"] = algorithm
    assert quantized[0].model_dump() == expected
