"""Writing of the demo checkpoint in the layout of Hugging Face."""

import json
from pathlib import Path
from typing import Any

from transformers import GenerationConfig

CHECKPOINT = Path(__file__).with_name("checkpoint")
LABEL = "demo checkpoint of Aeolus, trained on a few pages of text: not a real language model"


def write_checkpoint(model: Any, tokenizer: Any, folder: Path) -> None:
    """Write weights, configuration and tokenizer so that transformers 4 and 5 can read them.

    Args:
        model: A `LlamaForCausalLM`; its weights are written as they are, in float32.
        tokenizer: A tokenizer with a chat template.
        folder: Made where it is missing.
    """
    model.generation_config = GenerationConfig(
        bos_token_id=tokenizer.bos_token_id,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=tokenizer.pad_token_id,
    )
    model.save_pretrained(folder)
    tokenizer.save_pretrained(folder, save_jinja_files=False)
    # transformers 4 knows neither `rope_parameters` and `dtype` nor the class name that 5 writes.
    _amend(
        folder / "config.json",
        about=LABEL,
        rope_theta=model.config.rope_parameters["rope_theta"],
        torch_dtype="float32",
    )
    _amend(folder / "tokenizer_config.json", tokenizer_class="PreTrainedTokenizerFast")
    for file in folder.iterdir():
        file.chmod(0o644)


def _amend(path: Path, **fields: object) -> None:
    content = json.loads(path.read_text(encoding="utf-8")) | fields
    path.write_text(json.dumps(content, indent=2, sort_keys=True) + "\n", encoding="utf-8")
