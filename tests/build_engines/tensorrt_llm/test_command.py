"""The composed trtllm-build calls have only flags that exist, of the right kind, that agree."""

import json
from pathlib import Path

import pytest

from build_engines.documentation import render_document
from build_engines.tensorrt_llm.command import trtllm_build_command
from catalog import EnginePlan, ModelEntry, load_catalog

CATALOG = load_catalog()
TABLE = json.loads((Path(__file__).parent / "trtllm_build_flags.json").read_text())
KINDS = {name: kind for kind, names in TABLE["kinds"].items() for name in names}
PLANS = [
    pytest.param(
        model, plan, id=f"{model.name}-{plan.gpu}-{plan.quantization}-{plan.kv_cache_dtype}"
    )
    for model in CATALOG.values()
    for plan in [
        *model.engine_plans,
        # What no plan of the catalog asks for but the command line allows.
        model.engine.model_copy(update={"tp_size": 2, "quantization": "int4"}),
        model.engine.model_copy(update={"tp_size": 4, "gpu": "H200"}),
        model.engine.model_copy(update={"quantization": "fp8", "gpu": "H200"}),
        model.engine.model_copy(
            update={"quantization": "int4_awq", "kv_cache_dtype": "fp8", "gpu": "H100"}
        ),
    ]
]


def flags(model: ModelEntry, plan: EnginePlan, workers: int = 1) -> dict[str, str]:
    command = trtllm_build_command(model, plan, Path("/checkpoint"), Path("/engine"), workers)
    assert command[0] == "trtllm-build"
    names, values = command[1::2], command[2::2]
    assert len(set(names)) == len(names) == len(values)
    assert all(name.startswith("--") for name in names)
    return {name.removeprefix("--"): value for name, value in zip(names, values, strict=True)}


@pytest.mark.parametrize(("model", "plan"), PLANS)
def test_every_flag_exists_and_has_a_value_of_its_kind(model: ModelEntry, plan: EnginePlan) -> None:
    for name, value in flags(model, plan).items():
        if name in TABLE["choices"]:
            assert value in TABLE["choices"][name], name
            continue
        kind = KINDS[name]
        assert {
            "path": value.startswith("/"),
            "integer": value.isdecimal() and int(value) > 0,
            "switch": value in ("enable", "disable"),
            "plugin": value in TABLE["plugin_values"],
        }[kind], name


def test_a_switch_without_a_value_is_the_last() -> None:
    model = CATALOG["mistral-7b"]
    plan = model.engine.model_copy(update={"gather_context_logits": True})
    command = trtllm_build_command(model, plan, Path("/checkpoint"), Path("/engine"), 1)
    assert command[-1] == "--gather_context_logits"
    assert KINDS["gather_context_logits"] == "flag"
    plain = trtllm_build_command(model, model.engine, Path("/checkpoint"), Path("/engine"), 1)
    assert command[:-1] == plain


@pytest.mark.parametrize(("model", "plan"), PLANS)
def test_flags_that_exclude_each_other_are_never_together(
    model: ModelEntry, plan: EnginePlan
) -> None:
    given = flags(model, plan)
    on = {name for name, value in given.items() if value == "enable"}
    assert not {"multiple_profiles"} <= on or "opt_num_tokens" not in given
    # It would replace every number given beside it.
    assert "build_config" not in given
    # A custom class cannot be handed to several workers.
    assert "model_cls_file" not in given
    fused = plan.tp_size > 1 and model.architecture == "LlamaForCausalLM"
    assert ("reduce_fusion" in on) == fused
    if "user_buffer" in on:
        assert "reduce_fusion" in on
        assert plan.quantization == "fp8"
    if "use_fp8_context_fmha" in on:
        assert (plan.quantization, plan.kv_cache_dtype) == ("fp8", "fp8")
        assert plan.gpu in ("H100", "H200")
    if given.get("use_fused_mlp", "enable") == "enable":
        assert plan.quantization in ("none", "fp8")
    assert given["gemm_plugin"] == ("disable" if plan.quantization == "fp8" else "auto")


@pytest.mark.parametrize(("model", "plan"), PLANS)
def test_the_limits_of_the_plan_are_the_engines(model: ModelEntry, plan: EnginePlan) -> None:
    given = flags(model, plan)
    for limit in ("max_batch_size", "max_input_len", "max_seq_len", "max_beam_width"):
        assert given[limit] == str(getattr(plan, limit))
    assert given["max_num_tokens"] == str(plan.max_num_tokens)


@pytest.mark.parametrize(("model", "plan"), PLANS)
def test_in_flight_batching_in_triton_is_possible(model: ModelEntry, plan: EnginePlan) -> None:
    given = flags(model, plan)
    assert given["kv_cache_type"] == "paged"
    assert given["gpt_attention_plugin"] != "disable"
    assert given["remove_input_padding"] == given["use_paged_context_fmha"] == "enable"


def test_the_timing_cache_is_written_into_the_engine_directory() -> None:
    model = CATALOG["mistral-7b"]
    assert flags(model, model.engine)["output_timing_cache"] == "/engine/timing.cache"


def test_ranks_are_built_by_as_many_workers_as_asked_for() -> None:
    model = CATALOG["llama-2-70b"]
    assert flags(model, model.engine, workers=2)["workers"] == "2"


def test_every_plan_of_the_catalog_is_documented() -> None:
    document = render_document()
    assert document.count("trtllm-build \\\n") == sum(
        len(model.engine_plans) for model in CATALOG.values()
    )
    for heading in ("1 x A10G bfloat16", "2 x A100-80 float16", "1 x H100 fp8", "2 x H100 fp8"):
        assert f"### {heading}\n" in document
