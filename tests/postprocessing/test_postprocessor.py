"""Responses of many streams, each in its own state, and whole replies without any."""

from pathlib import Path

import pytest
from tokenizers import Tokenizer
from tokenizers_for_tests import save_byte_level_bpe

from postprocessing.postprocessor import Postprocessor, ResponseText
from postprocessing.streams import Streams

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    return save_byte_level_bpe(tmp_path)


@pytest.fixture
def streams() -> Streams:
    return Streams()


@pytest.fixture
def postprocessor(tmp_path: Path, tokenizer: Tokenizer, streams: Streams) -> Postprocessor:  # noqa: ARG001
    return Postprocessor(tmp_path, streams)


def test_streams_of_one_request_id_are_told_apart_by_arrival(
    postprocessor: Postprocessor, tokenizer: Tokenizer
) -> None:
    first, second = tokenizer.encode("ü", add_special_tokens=False).ids
    assert postprocessor.text_of([[first]], ("id", 1), True) == ResponseText([""], [REPLACEMENT])
    assert postprocessor.text_of([[first]], ("id", 2), True) == ResponseText([""], [REPLACEMENT])
    assert postprocessor.text_of([[second]], ("id", 1), True) == ResponseText(["ü"], [""])


def test_a_response_without_tokens_ends_the_stream_and_brings_what_was_held_back(
    postprocessor: Postprocessor, tokenizer: Tokenizer, streams: Streams
) -> None:
    first, _ = tokenizer.encode("ü", add_special_tokens=False).ids
    postprocessor.text_of([[first]], ("id", 1), True)
    assert len(streams) == 1
    assert postprocessor.text_of([[]], ("id", 1), True) == ResponseText([REPLACEMENT], [""])
    assert len(streams) == 0


def test_a_whole_reply_is_decoded_to_its_end_beam_by_beam(
    postprocessor: Postprocessor, tokenizer: Tokenizer, streams: Streams
) -> None:
    wind = tokenizer.encode("wind", add_special_tokens=False).ids
    half, _ = tokenizer.encode("ü", add_special_tokens=False).ids
    decoded = postprocessor.text_of([wind, [*wind, half]], None, True)
    assert decoded == ResponseText(["wind", f"wind{REPLACEMENT}"], ["", ""])
    assert len(streams) == 0


def test_special_tokens_show_only_when_asked_for(postprocessor: Postprocessor) -> None:
    assert postprocessor.text_of([[0]], None, True).text == [""]
    assert postprocessor.text_of([[0]], None, False).text == ["<|endoftext|>"]
