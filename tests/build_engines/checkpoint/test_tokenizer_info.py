import json
import shutil
from pathlib import Path

from build_engines.checkpoint.tokenizer_files import TOKENIZER_INFO, write_tokenizer_info
from demo.export import CHECKPOINT

FILES = ("config.json", "generation_config.json", "tokenizer.json", "tokenizer_config.json")


def test_tensorrt_llm_is_told_of_a_tokenizer_what_xgrammar_needs(tmp_path: Path) -> None:
    for name in FILES:
        shutil.copyfile(CHECKPOINT / name, tmp_path / name)
    assert write_tokenizer_info(tmp_path)
    info = json.loads((tmp_path / TOKENIZER_INFO).read_text())
    content = json.loads((CHECKPOINT / "tokenizer.json").read_text())
    assert (
        len(info["encoded_vocab"])
        == json.loads((CHECKPOINT / "config.json").read_text())["vocab_size"]
    )
    assert json.loads(info["tokenizer_str"]) == content
    assert info["stop_token_ids"] == [0]
    for token, number in content["model"]["vocab"].items():
        is_special = any(
            each["id"] == number and each["special"] for each in content["added_tokens"]
        )
        assert info["encoded_vocab"][number] == ("" if is_special else token)


def test_a_tokenizer_that_cannot_be_read_has_no_such_file(tmp_path: Path) -> None:
    assert not write_tokenizer_info(tmp_path)
    (tmp_path / "tokenizer.json").write_text("{}")
    assert not write_tokenizer_info(tmp_path)
    assert not (tmp_path / TOKENIZER_INFO).exists()
