"""Prompts become the tokens that Hugging Face makes of them."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers.processors import TemplateProcessing
from transformers import AutoTokenizer

from aeolus_contract.failures import InvalidRequestError
from preprocessing.preprocessor import Preprocessor
from preprocessing.request import EngineInputs, PromptRequest
from preprocessing.tokenizer import Tokenizer, TokenizerError
from support.chat_templates import CHAT_TEMPLATES
from support.preparing import prepare
from support.tokenizers_for_tests import save_byte_level_bpe, save_sentencepiece_bpe

CONVERSATION = [
    {"role": "user", "content": "hi"},
    {"role": "assistant", "content": "yes"},
    {"role": "user", "content": "so"},
]


def ids_of(preprocessor: Preprocessor, **prompt: Any) -> list[int]:
    return prepare(preprocessor, **prompt).input_ids


def test_a_raw_prompt_begins_with_bos(base: Preprocessor) -> None:
    ids = ids_of(base, text_input="the wind")
    assert ids[0] == 1
    assert ids.count(1) == 1


@pytest.mark.parametrize("name", CHAT_TEMPLATES)
def test_a_text_that_begins_with_bos_gets_no_other(
    models: dict[str, tuple[Preprocessor, Any]], name: str
) -> None:
    preprocessor, hugging_face = models[name]
    bos, bos_id = hugging_face.bos_token, hugging_face.bos_token_id
    plain = hugging_face(f"{bos}the wind", add_special_tokens=False)["input_ids"]
    for text in (f"{bos}the wind", f"{bos} the wind", bos):
        assert ids_of(preprocessor, text_input=text).count(bos_id) == 1
    assert ids_of(preprocessor, text_input=f"{bos}the wind") == plain
    assert ids_of(preprocessor, input_ids=[bos_id, bos_id]) == [bos_id, bos_id]


def test_a_conversation_goes_through_the_chat_template_once(
    chat: Preprocessor, chat_directory: Path
) -> None:
    hugging_face = AutoTokenizer.from_pretrained(chat_directory)
    expected = hugging_face.apply_chat_template(
        CONVERSATION, add_generation_prompt=True, return_dict=False
    )
    assert ids_of(chat, messages=json.dumps(CONVERSATION)) == expected


def test_messages_without_a_chat_template_are_refused(base: Preprocessor) -> None:
    with pytest.raises(InvalidRequestError, match="has no chat template"):
        ids_of(base, messages=json.dumps(CONVERSATION))


def test_what_the_template_refuses_is_refused_with_its_words(chat: Preprocessor) -> None:
    with pytest.raises(InvalidRequestError, match="refuses the messages: unknown role wizard"):
        ids_of(chat, messages='[{"role": "wizard", "content": "hi"}]')


@pytest.mark.parametrize(
    ("messages", "reason"),
    [
        ("[{", "messages is not valid JSON"),
        ("[" * 1_000, "messages is not valid JSON"),
        ("{}", "messages must be a list of at least one message"),
        ("[]", "messages must be a list of at least one message"),
        ('["hi"]', r"messages\[0\] must be an object with the keys role and content"),
        ('[{"role": "user"}]', r"messages\[0\] must be an object with the keys role and content"),
        (
            '[{"role": "user", "content": "a"}, {"role": "user", "content": 1}]',
            r"messages\[1\]\.content must be a string",
        ),
        (
            r'[{"role": "user", "content": "\ud83c wind"}]',
            r"messages\[0\]\.content is not valid Unicode: .*surrogates not allowed",
        ),
    ],
)
def test_a_malformed_conversation_is_refused_by_its_place(
    chat: Preprocessor, messages: str, reason: str
) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        prepare(chat, messages=messages, max_length=64)


@pytest.mark.parametrize(
    ("prompt", "reason"),
    [
        ({}, "send text_input or messages"),
        ({"text_input": "a", "messages": "[]"}, "either text_input or messages, not both"),
        ({"text_input": "a", "input_ids": [1]}, "either text_input or input_ids, not both"),
        ({"input_ids": []}, "the prompt is empty"),
        ({"input_ids": [1, -1]}, "input_ids holds -1; token ids of this model are 0 to"),
        ({"input_ids": [600]}, "input_ids holds 600; token ids"),
    ],
)
def test_exactly_one_prompt_is_needed(
    chat: Preprocessor, prompt: dict[str, Any], reason: str
) -> None:
    with pytest.raises(InvalidRequestError, match=reason):
        ids_of(chat, **prompt)


def test_all_eos_ids_of_the_generation_config_stop_a_reply(chat: Preprocessor) -> None:
    inputs = prepare(chat, text_input="hi")
    assert inputs.end_id == 0
    assert inputs.stop_words == [[7]]


def test_the_clients_end_id_takes_the_first_place(chat: Preprocessor) -> None:
    inputs = prepare(chat, text_input="hi", end_id=9, pad_id=3)
    assert (inputs.end_id, inputs.pad_id) == (9, 3)


def test_an_end_id_outside_the_vocabulary_is_refused(chat: Preprocessor) -> None:
    assert prepare(chat, text_input="hi", end_id=-1).end_id == -1
    for end_id in (-2, chat.tokenizer.vocab_size):
        with pytest.raises(InvalidRequestError, match=f"end_id is {end_id}; it must be a token id"):
            prepare(chat, text_input="hi", end_id=end_id)


def test_words_are_encoded_without_special_tokens_and_empty_ones_skipped(
    base: Preprocessor,
) -> None:
    inputs = prepare(base, text_input="hi", stop_words=["", "wind"], bad_words=["", "gold"])
    assert inputs.stop_words[0] == base.tokenizer.encode("wind")
    assert inputs.stop_words_texts == ["wind"]
    assert inputs.bad_words == [base.tokenizer.encode("gold")]
    assert 1 not in inputs.stop_words[0]


def test_a_stop_word_is_given_to_the_engine_behind_a_blank_too(chat: Preprocessor) -> None:
    inputs = prepare(chat, text_input="hi", stop_words=["wind"])
    eos = len(chat.tokenizer.eos_ids) - 1
    spellings = [chat.tokenizer.encode(word) for word in ("wind", " wind")]
    assert inputs.stop_words[eos:] == spellings


def test_a_directory_without_a_tokenizer_is_named(tmp_path: Path) -> None:
    with pytest.raises(TokenizerError, match=str(tmp_path)):
        Tokenizer(tmp_path)


def test_a_configuration_that_is_no_json_is_named(tmp_path: Path) -> None:
    save_byte_level_bpe(tmp_path)
    (tmp_path / "generation_config.json").write_text("{")
    with pytest.raises(TokenizerError, match=r"generation_config\.json: Expecting property name"):
        Tokenizer(tmp_path)


def test_an_unknown_engine_is_refused(tmp_path: Path) -> None:
    save_byte_level_bpe(tmp_path)
    with pytest.raises(ValueError, match="engine is 'vllm'; known are reference, executor"):
        Preprocessor.load(tmp_path, 64, 4, "vllm")  # type: ignore[arg-type]


def test_token_ids_are_the_prompt_as_they_are(chat: Preprocessor) -> None:
    assert ids_of(chat, input_ids=[5, 0, 6]) == [5, 0, 6]


def test_prompts_that_arrive_together_are_each_as_alone(
    chat: Preprocessor, base: Preprocessor
) -> None:
    texts = ["the wind", "gold 東京", "a", "the wind"]
    for preprocessor in (chat, base):
        requests = [PromptRequest(max_tokens=1, text_input=text) for text in texts]
        wrong = PromptRequest(max_tokens=1, text_input="")
        ids = PromptRequest(max_tokens=1, input_ids=[9])
        together = preprocessor.prepare([*requests[:2], ids, wrong, *requests[2:]])
        expected = [ids_of(preprocessor, text_input=text) for text in texts]
        expected.insert(2, [9])
        if preprocessor is chat:
            refused = together.pop(3)
            assert isinstance(refused, InvalidRequestError)
        else:
            expected.insert(3, [1])
        assert [each.input_ids for each in together if isinstance(each, EngineInputs)] == expected


def test_the_vocabulary_is_the_models_where_its_logits_are_padded(tmp_path: Path) -> None:
    save_byte_level_bpe(tmp_path)
    assert Tokenizer(tmp_path).vocab_size < 576
    (tmp_path / "config.json").write_text('{"vocab_size": 576}')
    assert Tokenizer(tmp_path).vocab_size == 576


def test_no_bos_is_put_before_a_text_where_the_tokenizer_puts_an_end_behind(
    tmp_path: Path,
) -> None:
    tokenizer = save_sentencepiece_bpe(tmp_path)
    tokenizer.post_processor = TemplateProcessing(single="$A </s>", special_tokens=[("</s>", 2)])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    preprocessor = Preprocessor.load(tmp_path, 64, 4, "reference")
    hugging_face = AutoTokenizer.from_pretrained(tmp_path)
    for text in ("the wind", "</s>the wind", "</s>"):
        assert ids_of(preprocessor, text_input=text) == hugging_face(text)["input_ids"]
