"""ModelOpt in packages of its own, and checkpoints small enough to quantize in a test."""

from pathlib import Path

import pytest
import torch
from transformers import LlamaConfig, LlamaForCausalLM

from build_engines.quantize.packages import OVERLAY, ModelOptError, install
from support.tiny_models import LENGTH, WEIGHT_STD
from support.tokenizers_for_tests import save_byte_level_bpe


@pytest.fixture(scope="session")
def modelopt() -> Path:
    """The directory of ModelOpt's packages; without an index of packages its tests are skipped."""
    overlay = Path(__file__).parents[3] / OVERLAY
    try:
        install(overlay)
    except ModelOptError as error:
        pytest.skip(str(error))
    return overlay


@pytest.fixture(scope="session")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A Llama 3.1 in small, as transformers 5 saves it, with sizes that AWQ's groups divide."""
    directory = tmp_path_factory.mktemp("llama")
    config = LlamaConfig(
        vocab_size=512,
        hidden_size=128,
        intermediate_size=256,
        num_hidden_layers=2,
        num_attention_heads=4,
        num_key_value_heads=2,
        max_position_embeddings=LENGTH,
        rms_norm_eps=1e-5,
        rope_parameters={
            "rope_type": "llama3",
            "rope_theta": 500000.0,
            "factor": 8.0,
            "low_freq_factor": 1.0,
            "high_freq_factor": 4.0,
            "original_max_position_embeddings": 256,
        },
    )
    model = LlamaForCausalLM(config)
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in name else 0.0, WEIGHT_STD, generator=generator)
    model.save_pretrained(directory)
    save_byte_level_bpe(directory)
    return directory
