"""The stand-in refuses what the table does not have."""

from typing import Any

import pytest
from tensorrt_llm.bindings import executor as bindings
from tensorrt_llm.standing_in.table import TABLE

trtllm: Any = bindings


def test_every_class_and_enumeration_of_the_table_is_there_and_no_other() -> None:
    names = {name.partition(".")[0] for name in (*TABLE["classes"], *TABLE["enums"])}
    public = {name for name in vars(bindings) if name[0].isupper()}
    assert public == names
    for name, entry in TABLE["enums"].items():
        kind = trtllm
        for part in name.split("."):
            kind = getattr(kind, part)
        assert [member.name for member in kind] == entry["values"]


@pytest.mark.parametrize(
    "call",
    [
        lambda: trtllm.SamplingConfig(1, 50),  # keyword only
        lambda: trtllm.SamplingConfig(temprature=1.0),
        lambda: trtllm.SamplingConfig(top_k=1.5),
        lambda: trtllm.SamplingConfig(seed=-1),
        lambda: trtllm.SamplingConfig(top_k=True),
        lambda: trtllm.Request(input_token_ids=(1, 2), max_tokens=1),
        lambda: trtllm.Request(input_token_ids=[1]),
        lambda: trtllm.Request(input_token_ids=[1], max_tokens=1, stop_words=[1]),
        lambda: trtllm.Request(input_token_ids=[1], max_tokens=1, sampling_config=None),
        lambda: trtllm.ExtendedRuntimePerfKnobConfig(cuda_graph_mode=True),
        lambda: trtllm.KvCacheConfig(max_attention_window=4096),
        lambda: trtllm.SchedulerConfig(capacity_scheduler_policy="GUARANTEED_NO_EVICT"),
        lambda: trtllm.DecodingMode.Auto() == trtllm.DecodingMode.Auto(),
    ],
)
def test_a_call_outside_the_table_is_a_type_error(call: Any) -> None:
    with pytest.raises(TypeError):
        call()


@pytest.mark.parametrize(
    "values", [{"top_p": 0.0}, {"min_p": 1.5}, {"repetition_penalty": 0.0}, {"top_k": -1}]
)
def test_a_value_out_of_range_is_a_runtime_error(values: dict[str, float]) -> None:
    with pytest.raises(RuntimeError, match="Assertion failed"):
        trtllm.SamplingConfig(**values)


def test_an_attribute_outside_the_table_is_an_attribute_error() -> None:
    config = trtllm.ExecutorConfig()
    assert config.iter_stats_max_iterations == 1000
    assert config.scheduler_config.capacity_scheduler_policy.name == "GUARANTEED_NO_EVICT"
    config.max_batch_size = 4
    assert config.max_batch_size == 4
    with pytest.raises(AttributeError):
        config.max_batchsize = 4
    with pytest.raises(AttributeError):
        _ = trtllm.Result().finish_reason
    with pytest.raises(AttributeError):
        trtllm.Request(input_token_ids=[1], max_tokens=1).max_tokens = 2
    with pytest.raises(AttributeError):
        _ = trtllm.CommunicationMode.FOLLOWER


def test_the_result_of_an_error_cannot_be_read() -> None:
    failed = trtllm.Response(1, "no", None)
    assert failed.has_error()
    with pytest.raises(RuntimeError):
        _ = failed.result
    with pytest.raises(RuntimeError):
        _ = trtllm.Response(1, trtllm.Result(), None).error_msg


def test_awaiting_takes_a_timedelta_by_name_and_a_number_is_a_request() -> None:
    method = trtllm.Executor.await_responses
    with pytest.raises(TypeError):
        method(object(), timeout=0.05)
    with pytest.raises(TypeError):
        method(object(), "5")
