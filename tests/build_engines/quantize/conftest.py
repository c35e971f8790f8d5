"""ModelOpt in packages of its own, and checkpoints small enough to quantize in a test."""

from pathlib import Path

import pytest
from transformers import LlamaForCausalLM

from build_engines.quantize.packages import OVERLAY, ModelOptError, install
from support.tiny_models import fill, llama_3_1
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
    config = llama_3_1(vocab_size=512, intermediate_size=256, num_attention_heads=4)
    model = LlamaForCausalLM(config)
    fill(model, seed=5)
    model.save_pretrained(directory)
    save_byte_level_bpe(directory)
    return directory
