"""What the sampling fields and word lists mean, against a plain loop without a cache."""

from collections import Counter
from typing import Any

import pytest

from support.engine_harness import Replies, Served, ask, request

PROMPT = [17, 300, 42, 42, 9]
GREEDY_FIELDS: list[dict[str, Any]] = [
    {},
    {"temperature": 0.3},
    {"top_k": 1, "top_p": 0.9, "temperature": 2.0},
    {"top_k": 0, "top_p": 0.0, "temperature": 5.0},
    {"top_k": 0, "top_p": -1.0},
    {"top_k": 40, "temperature": 0.0},
]


def greedy(llama: Served, length: int = 16) -> list[int]:
    return llama.oracle.generate(PROMPT, length, do_sample=False)[0]


@pytest.mark.parametrize("fields", GREEDY_FIELDS, ids=str)
def test_these_fields_mean_greedy(llama: Served, fields: dict[str, Any]) -> None:
    assert ask(llama.engine, request(PROMPT, 16, **fields)) == [greedy(llama)]


@pytest.mark.parametrize("fields", [{"top_k": 40}, {"top_p": 0.9}, {"top_p": 1.0}], ids=str)
def test_top_k_or_top_p_makes_a_draw_that_differs_without_a_seed(
    llama: Served, fields: dict[str, Any]
) -> None:
    drawn = {tuple(ask(llama.engine, request(PROMPT, 30, **fields))[0]) for _ in range(4)}
    assert len(drawn) == 4


def test_the_same_seed_gives_the_same_draw(llama: Served) -> None:
    one = request(PROMPT, 30, top_k=100, seed=2**64 - 1)
    assert ask(llama.engine, one) == ask(llama.engine, one)


@pytest.mark.parametrize(("presence", "frequency"), [(1.5, 0.0), (0.0, 0.8), (-1.0, 0.5)])
@pytest.mark.parametrize("temperature", [1.0, 0.5])
def test_presence_and_frequency_count_the_prompt_and_come_after_the_temperature(
    llama: Served, presence: float, frequency: float, temperature: float
) -> None:
    def adjust(tokens: list[int], logits: list[float]) -> list[float]:
        scores = [logit / temperature for logit in logits]
        for token, count in Counter(tokens).items():
            scores[token] -= presence + frequency * count
        return scores

    fields: dict[str, Any] = {
        "presence_penalty": presence,
        "frequency_penalty": frequency,
        "temperature": temperature,
    }
    expected = llama.oracle.plain_loop(PROMPT, 20, adjust=adjust)
    assert ask(llama.engine, request(PROMPT, 20, **fields)) == [expected]


def test_the_repetition_penalty_counts_prompt_and_output(llama: Served) -> None:
    def adjust(tokens: list[int], logits: list[float]) -> list[float]:
        for token in set(tokens):
            logits[token] = logits[token] * 1.4 if logits[token] < 0 else logits[token] / 1.4
        return logits

    expected = llama.oracle.plain_loop(PROMPT, 20, adjust=adjust)
    assert ask(llama.engine, request(PROMPT, 20, repetition_penalty=1.4)) == [expected]


def test_bad_words_of_one_and_of_several_tokens_never_appear(llama: Served) -> None:
    plain = greedy(llama)
    bad_words = [[plain[0]], plain[2:4]]

    def adjust(tokens: list[int], logits: list[float]) -> list[float]:
        for *prefix, last in bad_words:
            if tokens[len(tokens) - len(prefix) :] == prefix:
                logits[last] = float("-inf")
        return logits

    expected = llama.oracle.plain_loop(PROMPT, 20, adjust=adjust)
    assert ask(llama.engine, request(PROMPT, 20, bad_words=bad_words)) == [expected]
    assert expected != greedy(llama, 20)


def test_no_ngram_repeats(llama: Served) -> None:
    output = ask(llama.engine, request(PROMPT, 60, no_repeat_ngram_size=2))[0]
    pairs = list(zip([*PROMPT, *output], [*PROMPT, *output][1:], strict=False))
    assert len(pairs) == len(set(pairs))


def test_the_end_id_ends_a_sequence_and_is_not_in_the_output(llama: Served) -> None:
    plain = greedy(llama)
    end_id = plain[3]
    assert ask(llama.engine, request(PROMPT, 16, end_id=end_id)) == [plain[: plain.index(end_id)]]


def test_min_tokens_holds_the_end_id_back(llama: Served) -> None:
    end_id = greedy(llama)[0]

    def adjust(tokens: list[int], logits: list[float]) -> list[float]:
        if len(tokens) - len(PROMPT) < 7:
            logits[end_id] = float("-inf")
        return logits

    tokens = llama.oracle.plain_loop(
        PROMPT, 16, adjust=adjust, is_last=lambda new: new[-1] == end_id
    )
    expected = tokens[:-1] if tokens[-1] == end_id else tokens
    assert ask(llama.engine, request(PROMPT, 16, end_id=end_id, min_tokens=7)) == [expected]


@pytest.mark.parametrize("size", [1, 2, 3])
def test_a_stop_word_ends_a_sequence_and_stays_in_the_output(llama: Served, size: int) -> None:
    plain = greedy(llama)
    stop_word = plain[5 : 5 + size]
    end = next(i for i in range(size, 16) if plain[i - size : i] == stop_word)
    words = [[1, 2, 3, 4, 5, 6, 7], stop_word]
    assert ask(llama.engine, request(PROMPT, 16, stop_words=words)) == [plain[:end]]


def test_a_stop_word_may_begin_in_the_prompt(llama: Served) -> None:
    plain = greedy(llama)
    stop_words = [[PROMPT[-1], plain[0]]]
    assert ask(llama.engine, request(PROMPT, 16, stop_words=stop_words)) == [plain[:1]]


def test_a_beam_that_meets_a_stop_word_is_finished_like_one_that_meets_an_end_id(
    llama: Served,
) -> None:
    stop_word, unused = greedy(llama)[2], 511
    fields: dict[str, Any] = {"beam_width": 3, "len_penalty": 1.0}
    # generate takes several end ids and keeps them in the output, as stop words are kept.
    expected = llama.oracle.generate(
        PROMPT,
        16,
        do_sample=False,
        num_beams=3,
        num_return_sequences=3,
        early_stopping=True,
        eos_token_id=[stop_word, unused],
    )
    cut = [row[: row.index(stop_word) + 1] if stop_word in row else row for row in expected]
    stop_words = [[stop_word], [unused]]
    assert ask(llama.engine, request(PROMPT, 16, stop_words=stop_words, **fields)) == cut
    assert any(beam[-1] == stop_word for beam in cut)


def test_an_output_that_does_not_fit_is_cut_at_max_seq_len(llama: Served) -> None:
    prompt = [5] * (llama.engine.config.max_seq_len - 3)
    assert len(ask(llama.engine, request(prompt, 100))[0]) == 3


def test_the_prompt_comes_first_unless_excluded(llama: Served) -> None:
    echo = request(PROMPT, 4, exclude_input_in_output=False, beam_width=2)
    plain = request(PROMPT, 4, beam_width=2)
    expected = [PROMPT + beam for beam in ask(llama.engine, plain)]
    assert ask(llama.engine, echo) == expected


def test_a_stream_holds_deltas_without_the_prompt_and_ends_with_the_last_token(
    llama: Served,
) -> None:
    replies = Replies()
    streamed = request(PROMPT, 5, streaming=True, exclude_input_in_output=False)
    llama.engine.submit(streamed, replies)
    events = replies.all()
    assert [event.output_ids for event in events] == [[[token]] for token in greedy(llama, 5)]
    assert [event.is_final for event in events] == [False] * 4 + [True]


def test_a_stream_that_meets_the_end_id_ends_with_an_event_without_tokens(llama: Served) -> None:
    replies = Replies()
    plain = greedy(llama)
    llama.engine.submit(request(PROMPT, 16, streaming=True, end_id=plain[2]), replies)
    events = replies.all()
    expected = plain[: plain.index(plain[2])]
    assert [event.output_ids for event in events] == [[[token]] for token in expected] + [[[]]]


def test_a_streamed_beam_search_reports_all_beams_in_full_every_time(llama: Served) -> None:
    replies = Replies()
    fields: dict[str, Any] = {"beam_width": 3, "len_penalty": 1.0}
    llama.engine.submit(request(PROMPT, 6, streaming=True, **fields), replies)
    events = replies.all()
    assert [len(event.output_ids[0]) for event in events] == [1, 2, 3, 4, 5, 6]
    assert all(len(event.output_ids) == 3 for event in events)
    assert events[-1].output_ids == ask(llama.engine, request(PROMPT, 6, **fields))


@pytest.mark.parametrize("streaming", [False, True])
def test_why_a_sequence_ended_is_what_happened(llama: Served, streaming: bool) -> None:
    plain = greedy(llama)
    place = next(i for i in range(2, 16) if plain[i] not in plain[:i])

    def reasons(length: int, **fields: Any) -> list[str] | None:
        replies = Replies()
        llama.engine.submit(request(PROMPT, length, streaming=streaming, **fields), replies)
        *earlier, last = replies.all()
        assert all(each.finish_reasons is None for each in earlier)
        return [*last.finish_reasons] if last.finish_reasons else None

    assert reasons(place + 1) == ["length"]
    assert reasons(place + 1, end_id=plain[place]) == ["stop"]
    assert reasons(place, end_id=plain[place]) == ["length"]
    assert reasons(place + 1, stop_words=[[plain[place]]]) == ["stop"]


def test_each_beam_says_why_it_ended(llama: Served) -> None:
    replies = Replies()
    best = ask(llama.engine, request(PROMPT, 4, beam_width=3))
    fields: dict[str, Any] = {"beam_width": 3, "end_id": best[0][3], "len_penalty": 1.0}
    llama.engine.submit(request(PROMPT, 4, **fields), replies)
    final = replies.final()
    assert final.finish_reasons is not None
    for tokens, reason in zip(final.output_ids, final.finish_reasons, strict=True):
        assert (reason == "stop") is (len(tokens) < 4)


@pytest.mark.parametrize("beam_width", [1, 2])
def test_a_cancelled_request_says_so(llama: Served, beam_width: int) -> None:
    replies = Replies()
    fields: dict[str, Any] = {"request_id": "cancelled", "beam_width": beam_width}
    llama.engine.submit(request(PROMPT, 100, streaming=True, **fields), replies)
    replies.next()
    llama.engine.cancel("cancelled")
    assert replies.final().finish_reasons == ["cancelled"] * beam_width
