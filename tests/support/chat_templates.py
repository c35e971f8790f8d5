"""Chat templates that write what the five checkpoints' own do, with the special tokens they use."""

from pathlib import Path

from support.tokenizers_for_tests import (
    LLAMA_3_TOKENS,
    save_byte_level_bpe,
    save_metaspace_bpe,
    save_sentencepiece_bpe,
)

_TURNS = (
    "{% for message in messages %}"
    "{% if message['role'] in ['system', 'user', 'assistant'] %}"
    "{{ '<|' + message['role'] + '|>\n' + message['content'] + eos_token + '\n' }}"
    "{% endif %}"
    "{% endfor %}"
    "{% if add_generation_prompt %}{{ '<|assistant|>\n' }}{% endif %}"
)
_ALTERNATING = (
    "{% for message in turns %}"
    "{% if (message['role'] == 'user') != (loop.index0 % 2 == 0) %}"
    "{{ raise_exception('Conversation roles must alternate user/assistant/user/assistant/...') }}"
    "{% endif %}"
)
_MISTRAL = (
    "{% set turns = messages %}{{ bos_token }}" + _ALTERNATING + "{% if message['role'] == 'user' "
    "%}{{ '[INST] ' + message['content'] + ' [/INST]' }}"
    "{% elif message['role'] == 'assistant' %}{{ message['content'] + eos_token }}"
    "{% else %}{{ raise_exception('Only user and assistant roles are supported!') }}{% endif %}"
    "{% endfor %}"
)
_LLAMA_2 = (
    "{% if messages[0]['role'] == 'system' %}"
    "{% set turns = messages[1:] %}{% set system = messages[0]['content'] %}"
    "{% else %}{% set turns = messages %}{% set system = '' %}{% endif %}"
    + _ALTERNATING
    + "{% set content = message['content'].strip() %}"
    "{% if loop.first and system %}"
    "{% set content = '<<SYS>>\n' + system + '\n<</SYS>>\n\n' + content %}{% endif %}"
    "{% if message['role'] == 'user' %}{{ bos_token + '[INST] ' + content + ' [/INST]' }}"
    "{% else %}{{ ' ' + content + ' ' + eos_token }}{% endif %}"
    "{% endfor %}"
)
_LLAMA_3 = (
    "{{ bos_token }}{% for message in messages %}"
    "{{ '<|start_header_id|>' + message['role'] + '<|end_header_id|>\n\n'"
    " + message['content'].strip() + '<|eot_id|>' }}"
    "{% endfor %}"
    "{% if add_generation_prompt %}"
    "{{ '<|start_header_id|>assistant<|end_header_id|>\n\n' }}{% endif %}"
)

CHAT_TEMPLATES = {
    "stablelm-zephyr-3b": _TURNS,
    "zephyr-7b-beta": _TURNS,
    "mistral-7b": _MISTRAL,
    "llama-3-8b-instruct": _LLAMA_3,
    "llama-2-70b": _LLAMA_2,
}


def save_chat_tokenizer(name: str, directory: Path) -> None:
    """Write a small tokenizer of a model's family, with its chat template and control tokens."""
    match name:
        case "stablelm-zephyr-3b":
            save_byte_level_bpe(directory)
        case "llama-3-8b-instruct":
            save_byte_level_bpe(directory, control_tokens=LLAMA_3_TOKENS)
        case "mistral-7b":
            save_metaspace_bpe(directory)
        case _:
            save_sentencepiece_bpe(directory)
    (directory / "chat_template.jinja").write_text(CHAT_TEMPLATES[name])
