"""The tensors of the `tensorrt_llm` model on a real server: what goes in and what comes out."""

import time
from itertools import accumulate, chain
from typing import Any

import numpy as np
import pytest
from tritonclient.utils import InferenceServerException

from engine_step.metrics import GAUGES
from launcher.server import TritonServer
from scripts.bench.leaks import read_metrics
from support.engine_tensors import ask, question
from support.metrics import metric
from support.triton_calls import Array

pytestmark = pytest.mark.server

PROMPT = [5, 6, 7, 8]
LENGTH = 12

PERF_METRICS = {
    "kv_cache_alloc_new_blocks": np.int32,
    "kv_cache_reused_blocks": np.int32,
    "kv_cache_alloc_total_blocks": np.int32,
    "arrival_time_ns": np.int64,
    "first_scheduled_time_ns": np.int64,
    "first_token_time_ns": np.int64,
    "last_token_time_ns": np.int64,
    "acceptance_rate": np.float32,
    "total_accepted_draft_tokens": np.int32,
    "total_draft_tokens": np.int32,
}
EVERY_INPUT: dict[str, Any] = {
    "end_id": -1,
    "pad_id": 0,
    "stop_words_list": np.array([[[9, 9, 9], [3, -1, -1]]], dtype=np.int32),
    "bad_words_list": np.array([[[11, 12], [1, 2]]], dtype=np.int32),
    "embedding_bias": np.linspace(0, 1, 50, dtype=np.float32)[None],
    "num_return_sequences": 1,
    "beam_width": 1,
    "temperature": 0.8,
    "runtime_top_k": 20,
    "runtime_top_p": 0.9,
    "runtime_top_p_min": 0.1,
    "runtime_top_p_decay": 0.9,
    "runtime_top_p_reset_ids": 3,
    "seed": np.array([[7]], dtype=np.uint64),
    "repetition_penalty": 1.1,
    "presence_penalty": 0.1,
    "frequency_penalty": 0.1,
    "min_tokens": 2,
    "no_repeat_ngram_size": 3,
    "len_penalty": 1.0,
    "early_stopping": 1,
    "beam_search_diversity_rate": 0.0,
    "return_log_probs": True,
    "return_perf_metrics": True,
    "exclude_input_in_output": True,
    "return_num_input_tokens": True,
    "return_num_output_tokens": True,
    "streaming": False,
    "stop": False,
}


def whole(triton: TritonServer, **values: Any) -> dict[str, Array]:
    [reply] = ask(triton, question(PROMPT, LENGTH, **values))
    assert reply.is_final
    return reply.tensors


def tokens_of(triton: TritonServer, **values: Any) -> list[int]:
    tokens: list[int] = whole(triton, **values)["output_ids"][0, 0].tolist()
    return tokens


def test_every_input_at_once_brings_every_output(triton: TritonServer) -> None:
    tensors = whole(triton, **EVERY_INPUT)
    length = int(tensors["sequence_length"][0, 0])
    expected: dict[str, tuple[Any, tuple[int, ...]]] = {
        "output_ids": (np.int32, (1, 1, length)),
        "sequence_length": (np.int32, (1, 1)),
        "finish_reason": (np.object_, (1, 1)),
        "cum_log_probs": (np.float32, (1, 1)),
        "output_log_probs": (np.float32, (1, 1, length)),
        "num_input_tokens": (np.int32, (1, 1)),
        "num_output_tokens": (np.int32, (1, 1)),
    } | {name: (dtype, (1, 1)) for name, dtype in PERF_METRICS.items()}
    assert {name: (a.dtype, a.shape) for name, a in tensors.items()} == expected
    assert tensors["num_input_tokens"].tolist() == [[len(PROMPT)]]
    assert tensors["num_output_tokens"].tolist() == [[length]]
    assert np.isclose(tensors["output_log_probs"].sum(), tensors["cum_log_probs"], rtol=1e-4)
    times = [int(tensors[name][0, 0]) for name in PERF_METRICS if name.endswith("_ns")]
    assert times == sorted(times)
    assert times[0] > 0


def test_a_plain_request_brings_the_tokens_and_nothing_else(triton: TritonServer) -> None:
    assert whole(triton).keys() == {"output_ids", "sequence_length", "finish_reason"}


def test_only_the_outputs_that_are_wanted_come(triton: TritonServer) -> None:
    names = ["output_ids", "sequence_length", "arrival_time_ns"]
    [reply] = ask(triton, question(PROMPT, LENGTH, **EVERY_INPUT), outputs=names)
    assert list(reply.tensors) == names


def test_a_seed_brings_the_same_tokens_again(triton: TritonServer) -> None:
    drawn = [
        tokens_of(triton, temperature=2.0, runtime_top_p=1.0, seed=np.array([[seed]], np.uint64))
        for seed in (7, 7, 8)
    ]
    assert drawn[0] == drawn[1] != drawn[2]


def test_a_stream_brings_new_tokens_and_all_log_probs_so_far(triton: TritonServer) -> None:
    values: dict[str, Any] = {"return_log_probs": True, "return_perf_metrics": True}
    expected = whole(triton, **values)
    replies = ask(triton, question(PROMPT, LENGTH, streaming=True, **values))
    news = [reply.beams[0] for reply in replies]
    assert list(chain(*news)) == expected["output_ids"][0, 0].tolist()
    shapes = [reply.tensors["output_log_probs"].shape for reply in replies]
    assert shapes == [(1, 1, n) for n in accumulate(map(len, news))]
    last = replies[-1].tensors
    assert np.allclose(last["output_log_probs"], expected["output_log_probs"], atol=1e-5)
    assert len({int(reply.tensors["arrival_time_ns"][0, 0]) for reply in replies}) == 1
    is_last = [False] * (len(replies) - 1) + [True]
    assert [reply.is_final for reply in replies] == is_last
    # By these postprocessing knows the last response.
    assert [reply.tensors["last_token_time_ns"][0, 0] > 0 for reply in replies] == is_last
    assert ["finish_reason" in reply.tensors for reply in replies] == is_last
    assert last["finish_reason"].tolist() == [[b"length"]]


def test_a_stream_of_beams_brings_all_tokens_every_time(triton: TritonServer) -> None:
    replies = ask(triton, question(PROMPT, 5, streaming=True, beam_width=3))
    shapes = [reply.tensors["output_ids"].shape for reply in replies]
    assert shapes == sorted({(1, 3, n) for *_, n in shapes})
    assert shapes[-1] == (1, 3, 5)


def test_short_beams_are_padded(triton: TritonServer) -> None:
    end_id = tokens_of(triton)[2]
    tensors = whole(triton, beam_width=4, len_penalty=1.0, end_id=end_id, return_log_probs=True)
    lengths = tensors["sequence_length"][0].tolist()
    assert tensors["cum_log_probs"].shape == (1, 4)
    assert min(lengths) < max(lengths)
    for name in ("output_ids", "output_log_probs"):
        assert tensors[name].shape == (1, 4, max(lengths))
        for row, length in zip(tensors[name][0], lengths, strict=True):
            assert (row[length:] == -1).all()
            assert end_id not in row


def test_a_stream_that_meets_the_end_id_ends_with_no_token(triton: TritonServer) -> None:
    plain = tokens_of(triton)
    replies = ask(triton, question(PROMPT, LENGTH, streaming=True, end_id=plain[3]))
    assert [t for reply in replies for t in reply.beams[0]] == plain[: plain.index(plain[3])]
    assert replies[-1].tensors["output_ids"].shape == (1, 1, 0)
    assert replies[-1].tensors["sequence_length"].tolist() == [[0]]


def test_a_stop_word_stays_in_the_output(triton: TritonServer) -> None:
    plain = tokens_of(triton)
    word = plain[2:4]
    stop_words = np.array([[word, [2, -1]]], dtype=np.int32)
    end = next(i for i in range(2, LENGTH) if plain[i - 2 : i] == word)
    assert tokens_of(triton, stop_words_list=stop_words) == plain[:end]


def test_a_prompt_that_is_repeated_counts_as_output(triton: TritonServer) -> None:
    echoed = whole(triton, exclude_input_in_output=False, return_num_output_tokens=True)
    assert echoed["output_ids"][0, 0].tolist() == PROMPT + tokens_of(triton)
    assert echoed["num_output_tokens"].tolist() == [[len(PROMPT) + LENGTH]]


def test_a_stopped_stream_ends_with_a_normal_response(triton: TritonServer) -> None:
    def stop() -> None:
        stopped = ask(triton, question([0], 1, stop=True), request_id="to-be-stopped")
        assert [reply.tensors for reply in stopped] == [{}]

    long = question(PROMPT, 4000, streaming=True)
    replies = ask(triton, long, request_id="to-be-stopped", on_first=stop)
    assert 0 < sum(len(reply.beams[0]) for reply in replies) < 4000


def test_a_stop_order_for_an_unknown_request_is_obeyed_and_one_for_none_is_refused(
    triton: TritonServer,
) -> None:
    order = question([0], 1, stop=True)
    assert [reply.tensors for reply in ask(triton, order, request_id="nobody")] == [{}]
    with pytest.raises(InferenceServerException, match="invalid request: stop is set, but there"):
        ask(triton, order)


@pytest.mark.parametrize("name", ["output_ids", "sequence_length"])
def test_the_outputs_that_tensorrt_llm_requires_are_required(
    triton: TritonServer, name: str
) -> None:
    with pytest.raises(InferenceServerException, match="must be among the requested outputs"):
        ask(triton, question(PROMPT, 3), outputs=[name])


NOT_SERVED: dict[str, Array] = {
    "draft_input_ids": np.ones((1, 2), dtype=np.int32),
    "lora_task_id": np.ones((1, 1), dtype=np.uint64),
    "prompt_embedding_table": np.ones((1, 1, 2), dtype=np.float32),
    "return_context_logits": np.ones((1, 1), dtype=np.bool_),
    "return_generation_logits": np.ones((1, 1), dtype=np.bool_),
    "lookahead_window_size": np.ones((1, 1), dtype=np.int32),
}


@pytest.mark.parametrize("name", NOT_SERVED)
def test_an_input_that_is_not_served_is_refused_by_name(triton: TritonServer, name: str) -> None:
    with pytest.raises(InferenceServerException, match=f"unexpected inference input '{name}'"):
        whole(triton, **{name: NOT_SERVED[name]})


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"num_return_sequences": 2}, "num_return_sequences is 2; the engine returns one sequence"),
    ({"beam_width": 9}, "beam_width is 9; it must be in"),
    (
        {"guided_decoding_guide_type": np.array([[b"json"]], dtype=np.object_)},
        "a guided reply needs an end id, by which it ends",
    ),
    ({"runtime_top_p_decay": 0.0}, "top_p_decay is 0.0; it must be greater than 0"),
    ({"runtime_top_p_min": 2.0}, "top_p_min is 2.0; it must be greater than 0 and at most 1"),
    ({"runtime_top_p_reset_ids": -1}, "top_p_reset_id is -1"),
    ({"embedding_bias": np.zeros((1, 10**6), np.float32)}, "embedding_bias has 1000000 entries"),
    ({"embedding_bias": np.full((1, 3), np.nan, np.float32)}, "embedding_bias holds NaN"),
    ({"beam_search_diversity_rate": float("inf")}, "beam_search_diversity_rate is inf"),
]


@pytest.mark.parametrize(("values", "text"), REFUSED, ids=[text for _, text in REFUSED])
def test_a_value_that_is_not_served_is_refused_with_the_reason(
    triton: TritonServer, values: dict[str, Any], text: str
) -> None:
    with pytest.raises(InferenceServerException, match=f"invalid request: {text}"):
        whole(triton, **values)


def test_several_prompts_in_one_request_are_answered_each_with_its_index(
    triton: TritonServer,
) -> None:
    two = {name: np.repeat(array, 2, axis=0) for name, array in question(PROMPT, 3).items()}
    two["input_lengths"][1] -= 1  # the rest of that row is padding
    replies = ask(triton, two)
    beams = {int(reply.tensors["batch_index"].item()): reply.beams for reply in replies}
    expected = [ask(triton, question(prompt, 3)) for prompt in (PROMPT, PROMPT[:-1])]
    assert beams == {row: reply.beams for row, (reply,) in enumerate(expected)}
    assert [reply.is_final for reply in replies] == [False, True]


def test_dashboards_find_the_gauges_of_tensorrt_llm(triton: TritonServer) -> None:
    whole(triton)
    for family, label, kind in GAUGES:
        assert metric(triton.metrics_url, family, **{label: kind}) >= 0


def test_every_request_counts_in_the_histograms_of_lengths(triton: TritonServer) -> None:
    def long_ones(kind: str) -> float:
        up_to = {
            each.labels["le"]: each.value
            for each in read_metrics(triton.metrics_url)
            if each.name == f"nv_llm_{kind}_token_len_bucket"
        }
        return up_to["1000"] - up_to["500"]

    before = long_ones("input"), long_ones("output")
    ask(triton, question([5] * 600, 700, streaming=True))
    deadline = time.monotonic() + 60  # the engine reports ten times a second
    while long_ones("output") == before[1] and time.monotonic() < deadline:
        time.sleep(0.05)
    assert (long_ones("input"), long_ones("output")) == (before[0] + 1, before[1] + 1)
