"""Responses of many streams, each in its own state, and whole replies without any."""

import json
from pathlib import Path
from typing import Any

import pytest
from tokenizers import Tokenizer

from postprocessing.postprocessor import EngineResponse, Postprocessor, ResponseText
from postprocessing.streams import StreamKey, Streams
from support.tokenizers_for_tests import save_byte_level_bpe

REPLACEMENT = "\N{REPLACEMENT CHARACTER}"


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    return save_byte_level_bpe(tmp_path)


@pytest.fixture
def streams() -> Streams:
    return Streams()


@pytest.fixture
def postprocessor(tmp_path: Path, tokenizer: Tokenizer, streams: Streams) -> Postprocessor:  # noqa: ARG001
    return Postprocessor(tmp_path, skip_special_tokens=True, streams=streams)


def decode(
    postprocessor: Postprocessor, beams: list[list[int]], stream: StreamKey | None, **values: Any
) -> ResponseText:
    names = ("num_input_tokens", "num_echoed_tokens", "stop_words", "finish_reasons", "is_last")
    fields = {name: values.pop(name) for name in names if name in values}
    return postprocessor.text_of(
        EngineResponse(beams=beams, stream=stream, parameters=json.dumps(values), **fields)
    )


def test_streams_of_one_request_id_are_told_apart_by_arrival(
    postprocessor: Postprocessor, tokenizer: Tokenizer
) -> None:
    first, second = tokenizer.encode("ü", add_special_tokens=False).ids
    assert decode(postprocessor, [[first]], ("id", 1, 0)) == ResponseText([""], [REPLACEMENT])
    assert decode(postprocessor, [[first]], ("id", 2, 0)) == ResponseText([""], [REPLACEMENT])
    assert decode(postprocessor, [[second]], ("id", 1, 0)) == ResponseText(["ü"])


def test_a_stream_that_has_all_its_tokens_is_over_and_brings_what_was_held_back(
    postprocessor: Postprocessor, tokenizer: Tokenizer, streams: Streams
) -> None:
    first, _ = tokenizer.encode("ü", add_special_tokens=False).ids
    for tokens in ([first], [first, first]):
        decode(postprocessor, [tokens], ("id", 1, 0), max_tokens=4)
        assert len(streams) == 1
    assert decode(postprocessor, [[first]], ("id", 1, 0), max_tokens=4).pending is None
    assert len(streams) == 0


def test_a_response_without_tokens_ends_the_stream_and_brings_what_was_held_back(
    postprocessor: Postprocessor, tokenizer: Tokenizer, streams: Streams
) -> None:
    first, _ = tokenizer.encode("ü", add_special_tokens=False).ids
    decode(postprocessor, [[first]], ("id", 1, 0))
    assert len(streams) == 1
    assert decode(postprocessor, [[]], ("id", 1, 0)) == ResponseText([REPLACEMENT])
    assert len(streams) == 0


def test_a_whole_reply_is_decoded_to_its_end_beam_by_beam(
    postprocessor: Postprocessor, tokenizer: Tokenizer, streams: Streams
) -> None:
    wind = tokenizer.encode("wind", add_special_tokens=False).ids
    half, _ = tokenizer.encode("ü", add_special_tokens=False).ids
    decoded = decode(postprocessor, [wind, [*wind, half]], None)
    assert decoded == ResponseText(["wind", f"wind{REPLACEMENT}"])
    assert len(streams) == 0


def test_special_tokens_show_only_when_asked_for(postprocessor: Postprocessor) -> None:
    assert decode(postprocessor, [[0]], None).text == [""]
    assert decode(postprocessor, [[0]], None, skip_special_tokens=False).text == ["<|endoftext|>"]


def stop(*texts: str) -> str:
    return json.dumps(texts)


def test_a_stop_string_ends_every_beam_of_a_whole_reply_for_itself(
    postprocessor: Postprocessor, tokenizer: Tokenizer
) -> None:
    beams = [
        tokenizer.encode(text, add_special_tokens=False).ids
        for text in ("the wind is gentle", "the gold")
    ]
    decoded = decode(postprocessor, beams, None, stop=stop(" is", "hills"))
    assert decoded == ResponseText(["the wind", "the gold"], stop_reasons=[" is", ""])


def test_a_stop_string_that_spans_responses_is_cut_and_told_once(
    postprocessor: Postprocessor, tokenizer: Tokenizer
) -> None:
    tokens = tokenizer.encode("the wind is", add_special_tokens=False).ids
    responses = [
        decode(postprocessor, [[token]], ("id", 1, 0), stop=stop("wind i"))
        for token in [*tokens, *tokens]
    ]
    assert "".join(each.text[0] for each in responses) == "the "
    assert [each.stop_reasons for each in responses if each.stop_reasons] == [["wind i"]]
    assert all(each.pending is None for each in responses[len(tokens) :])


def test_what_may_become_a_stop_string_is_pending(
    postprocessor: Postprocessor, tokenizer: Tokenizer
) -> None:
    tokens = tokenizer.encode("the wind", add_special_tokens=False).ids
    decoded = decode(postprocessor, [tokens], ("id", 1, 0), stop=stop("windy"))
    assert decoded == ResponseText(["the "], ["wind"])
    assert decode(postprocessor, [[]], ("id", 1, 0)) == ResponseText(["wind"])


def test_a_repeated_prompt_ends_nothing(postprocessor: Postprocessor, tokenizer: Tokenizer) -> None:
    prompt = tokenizer.encode("the wind", add_special_tokens=False).ids
    reply = tokenizer.encode(" is wind", add_special_tokens=False).ids
    decoded = decode(
        postprocessor,
        [prompt + reply],
        None,
        num_input_tokens=len(prompt),
        stop=stop("wind"),
        prompt_in_output=True,
    )
    assert decoded == ResponseText(["the wind is "], stop_reasons=["wind"])


def test_an_end_id_of_the_request_does_not_show_at_the_end(
    postprocessor: Postprocessor, tokenizer: Tokenizer
) -> None:
    tokens = tokenizer.encode("the wind is", add_special_tokens=False).ids
    assert decode(postprocessor, [tokens], None, end_ids=f"[0, {tokens[-1]}]").text == ["the wind"]
    for token in tokens:
        decoded = decode(postprocessor, [[token]], ("id", 1, 0), end_ids=f"[0, {tokens[-1]}]")
    assert decoded.text == [""]


def test_output_ids_are_sent_only_when_asked_for(postprocessor: Postprocessor) -> None:
    assert not decode(postprocessor, [[5]], None).with_output_ids
    assert decode(postprocessor, [[5]], None, return_output_ids=True).with_output_ids
    assert decode(postprocessor, [[5]], ("id", 1, 0), return_output_ids=True).with_output_ids


def test_the_last_response_ends_the_stream_whatever_it_holds(
    postprocessor: Postprocessor, tokenizer: Tokenizer, streams: Streams
) -> None:
    first, _ = tokenizer.encode("ü", add_special_tokens=False).ids
    decode(postprocessor, [[first]], ("id", 1, 0))
    assert len(streams) == 1
    last = decode(postprocessor, [[first]], ("id", 1, 0), is_last=True)
    assert last == ResponseText([REPLACEMENT * 2])
    assert len(streams) == 0


def test_an_end_id_that_shows_as_a_token_ends_the_stream(
    postprocessor: Postprocessor, streams: Streams
) -> None:
    decode(postprocessor, [[5]], ("id", 1, 0), end_ids="[0, 9]")
    assert len(streams) == 1
    decode(postprocessor, [[6, 9]], ("id", 1, 0), end_ids="[0, 9]")
    assert len(streams) == 0


def test_the_engines_reasons_go_on_but_for_a_stop_string(
    postprocessor: Postprocessor, tokenizer: Tokenizer
) -> None:
    gentle, wind = (tokenizer.encode(word).ids for word in ("gentle", "wind"))
    reasons = ["length", "length"]
    decoded = decode(postprocessor, [gentle, wind], None, stop='["ind"]', finish_reasons=reasons)
    assert decoded.finish_reasons == ["length", "stop"]
    decode(postprocessor, [gentle], ("id", 1, 0), stop='["ind"]')
    last = decode(
        postprocessor,
        [wind],
        ("id", 1, 0),
        stop='["ind"]',
        finish_reasons=["cancelled"],
        is_last=True,
    )
    assert last.finish_reasons == ["stop"]


def test_a_stop_word_ends_the_text_and_stays_in_it(
    postprocessor: Postprocessor, tokenizer: Tokenizer, streams: Streams
) -> None:
    tokens = tokenizer.encode("a gentle wind").ids
    words = ["entl", "never"]
    whole = decode(postprocessor, [tokens], None, stop_words=words)
    assert whole == ResponseText(["a gentl"], stop_reasons=["entl"])
    parts = [
        decode(
            postprocessor, [[token]], ("id", 1, 0), stop_words=words, is_last=place == len(tokens)
        )
        for place, token in enumerate(tokens, 1)
    ]
    assert "".join(part.text[0] for part in parts) == "a gentl"
    assert len(streams) == 0


def test_a_stop_word_in_the_prompt_ends_nothing(
    postprocessor: Postprocessor, tokenizer: Tokenizer
) -> None:
    prompt, reply = (tokenizer.encode(text).ids for text in ("a gentle", " gentle wind"))
    decoded = decode(
        postprocessor,
        [prompt + reply],
        None,
        stop_words=["gentle"],
        num_echoed_tokens=len(prompt),
    )
    assert decoded.text == ["a gentle gentle"]
