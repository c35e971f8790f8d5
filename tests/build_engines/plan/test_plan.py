"""What an engine needs is known before it is built, and what cannot be is refused."""

import json

import pytest

from build_engines.plan.capacity import (
    PlanError,
    choose_engine,
    make_plan,
    measure,
    usual_kv_cache_dtype,
)
from build_engines.plan.gpus import GIB
from build_engines.plan.memory import kv_bytes_per_token, rank_parameters
from build_engines.plan.report import render
from catalog import load_catalog
from catalog.schema import GpuName, Quantization

CATALOG = load_catalog()
A10G_TOKENS, DATACENTRE_TOKENS = 4096, 8192


@pytest.mark.parametrize(
    ("model", "tp_size", "elements"),
    [
        # Counted from the shapes of the published checkpoints.
        ("stablelm-zephyr-3b", 1, 2_795_443_200),
        ("mistral-7b", 1, 7_241_732_096),
        ("zephyr-7b-beta", 1, 7_241_732_096),
        ("llama-3-8b-instruct", 1, 8_030_261_248),
        ("llama-3-8b-instruct", 2, 4_277_932_032),
        ("llama-2-70b", 1, 68_976_648_192),
        ("llama-2-70b", 2, 34_620_055_552),
        ("llama-2-70b", 4, 17_441_759_232),
    ],
)
def test_a_rank_holds_as_many_elements_as_its_file(model: str, tp_size: int, elements: int) -> None:
    entry = CATALOG[model]
    assert rank_parameters(entry.shape, entry.architecture, tp_size).total == elements


@pytest.mark.parametrize(
    ("model", "tp_size", "quantization", "gib"),
    [
        ("stablelm-zephyr-3b", 1, "none", 5.21),
        ("stablelm-zephyr-3b", 1, "int8", 2.84),
        ("stablelm-zephyr-3b", 1, "int4", 1.66),
        ("mistral-7b", 1, "none", 13.49),
        ("mistral-7b", 1, "fp8", 6.99),
        ("mistral-7b", 1, "int4", 3.74),
        ("llama-3-8b-instruct", 1, "none", 14.96),
        ("llama-3-8b-instruct", 1, "int8", 8.46),
        ("llama-3-8b-instruct", 1, "int4", 5.21),
        ("llama-2-70b", 1, "none", 128.48),
        ("llama-2-70b", 1, "int8", 64.73),
        ("llama-2-70b", 1, "int4", 32.85),
        ("llama-2-70b", 2, "none", 64.48),
        ("llama-2-70b", 2, "fp8", 32.61),
        ("llama-2-70b", 2, "int4", 16.67),
    ],
)
def test_weights_take_the_known_sizes(
    model: str, tp_size: int, quantization: Quantization, gib: float
) -> None:
    engine = CATALOG[model].engine.model_copy(
        update={"tp_size": tp_size, "quantization": quantization}
    )
    assert round(measure(CATALOG[model], engine).rank_weight_bytes / GIB, 2) == gib


@pytest.mark.parametrize(
    ("model", "tp_size", "quantization", "size"),
    [
        ("stablelm-zephyr-3b", 1, "none", 327_680),
        ("mistral-7b", 1, "none", 131_072),
        ("mistral-7b", 1, "int8", 131_072),
        ("mistral-7b", 1, "fp8", 65_536),
        ("llama-3-8b-instruct", 1, "none", 131_072),
        ("llama-2-70b", 1, "none", 327_680),
        ("llama-2-70b", 2, "none", 163_840),
        ("llama-2-70b", 2, "fp8", 81_920),
        # 8 KV heads on 16 ranks: each rank has one, held twice over all.
        ("llama-2-70b", 16, "none", 40_960),
    ],
)
def test_a_token_takes_the_known_bytes_of_kv_cache(
    model: str, tp_size: int, quantization: Quantization, size: int
) -> None:
    kv_cache_dtype = usual_kv_cache_dtype(quantization)
    assert kv_bytes_per_token(CATALOG[model].shape, tp_size, kv_cache_dtype) == size


@pytest.mark.parametrize(
    ("model", "tp_size", "quantization", "gpu", "max_num_tokens", "tokens"),
    [
        ("stablelm-zephyr-3b", 1, "none", "A10G", A10G_TOKENS, 46_272),
        ("stablelm-zephyr-3b", 1, "none", "A100-40", DATACENTRE_TOKENS, 96_128),
        ("stablelm-zephyr-3b", 1, "none", "A100-80", DATACENTRE_TOKENS, 213_216),
        ("stablelm-zephyr-3b", 1, "none", "H200", DATACENTRE_TOKENS, 392_224),
        ("mistral-7b", 1, "none", "A10G", A10G_TOKENS, 53_152),
        ("mistral-7b", 1, "none", "A100-40", DATACENTRE_TOKENS, 176_288),
        ("mistral-7b", 1, "none", "H100", DATACENTRE_TOKENS, 468_992),
        ("mistral-7b", 1, "none", "H200", DATACENTRE_TOKENS, 916_512),
        ("mistral-7b", 1, "int8", "A10G", A10G_TOKENS, 101_088),
        ("zephyr-7b-beta", 1, "fp8", "H100", DATACENTRE_TOKENS, 1_033_824),
        ("zephyr-7b-beta", 1, "fp8", "H200", DATACENTRE_TOKENS, 1_928_864),
        ("llama-3-8b-instruct", 1, "none", "A10G", A10G_TOKENS, 42_336),
        ("llama-3-8b-instruct", 1, "none", "A100-40", DATACENTRE_TOKENS, 165_440),
        ("llama-3-8b-instruct", 1, "none", "A100-80", DATACENTRE_TOKENS, 458_144),
        ("llama-3-8b-instruct", 1, "none", "H200", DATACENTRE_TOKENS, 905_664),
        ("llama-3-8b-instruct", 1, "int8", "A10G", A10G_TOKENS, 90_240),
        ("llama-3-8b-instruct", 1, "fp8", "H100", DATACENTRE_TOKENS, 1_012_160),
        ("llama-3-8b-instruct", 1, "fp8", "H200", DATACENTRE_TOKENS, 1_907_232),
        ("llama-2-70b", 2, "none", "A10G", A10G_TOKENS, 0),
        ("llama-2-70b", 2, "none", "A100-40", A10G_TOKENS, 0),
        ("llama-2-70b", 2, "none", "A100-80", DATACENTRE_TOKENS, 73_024),
        ("llama-2-70b", 2, "none", "A100-80", A10G_TOKENS, 76_640),
        ("llama-2-70b", 2, "none", "H200", DATACENTRE_TOKENS, 431_040),
        ("llama-2-70b", 2, "int8", "A10G", A10G_TOKENS, 0),
        ("llama-2-70b", 2, "int8", "A100-40", A10G_TOKENS, 30_496),
        ("llama-2-70b", 2, "int8", "A100-80", A10G_TOKENS, 264_640),
        ("llama-2-70b", 2, "int4", "A10G", A10G_TOKENS, 23_040),
        ("llama-2-70b", 2, "int4", "A100-40", DATACENTRE_TOKENS, 120_864),
        ("llama-2-70b", 2, "int4", "A100-80", DATACENTRE_TOKENS, 355_008),
        ("llama-2-70b", 2, "int4", "H200", DATACENTRE_TOKENS, 713_056),
        ("llama-2-70b", 2, "fp8", "H100", DATACENTRE_TOKENS, 522_048),
        ("llama-2-70b", 2, "fp8", "H200", DATACENTRE_TOKENS, 1_238_080),
        ("llama-2-70b", 1, "fp8", "H100", DATACENTRE_TOKENS, 67_232),
        ("llama-2-70b", 1, "fp8", "H200", DATACENTRE_TOKENS, 425_248),
    ],
)
def test_the_kv_cache_holds_the_known_number_of_tokens(
    model: str,
    tp_size: int,
    quantization: Quantization,
    gpu: GpuName,
    max_num_tokens: int,
    tokens: int,
) -> None:
    change = {
        "tp_size": tp_size,
        "quantization": quantization,
        "kv_cache_dtype": usual_kv_cache_dtype(quantization),
        "gpu": gpu,
        "max_num_tokens": max_num_tokens,
    }
    engine = CATALOG[model].engine.model_copy(update=change)
    assert measure(CATALOG[model], engine).kv_tokens == tokens


@pytest.mark.parametrize("model", CATALOG)
def test_every_plan_of_the_catalog_fits_with_its_widest_request(model: str) -> None:
    for engine in CATALOG[model].engine_plans:
        assert make_plan(CATALOG[model], engine).concurrent_widest_requests >= 1


def test_an_engine_has_the_size_of_its_weights_and_disk_holds_every_step() -> None:
    plan = make_plan(CATALOG["llama-2-70b"], CATALOG["llama-2-70b"].engine)
    assert plan.engine_bytes == plan.checkpoint_bytes == 2 * 69_240_111_104
    assert plan.disk_bytes == 137_953_296_384 + 2 * 138_480_222_208
    assert 155 < plan.host_bytes_per_worker / GIB < 170


def test_weight_only_quantization_shrinks_the_engine_but_not_its_checkpoint() -> None:
    engine = choose_engine(CATALOG["mistral-7b"], quantization="int8")
    plan = make_plan(CATALOG["mistral-7b"], engine)
    assert plan.checkpoint_bytes == 14_483_464_192
    assert plan.engine_bytes < 0.53 * plan.checkpoint_bytes


def test_the_catalogs_plan_for_the_asked_hardware_is_taken() -> None:
    engine = choose_engine(CATALOG["mistral-7b"], gpu="H100", quantization="fp8")
    assert engine == CATALOG["mistral-7b"].variants[0]


def test_an_fp8_cache_goes_with_calibrated_weights_and_may_be_left_out() -> None:
    model = CATALOG["llama-3-8b-instruct"]
    awq = choose_engine(model, gpu="H100", quantization="int4_awq", kv_cache_dtype="fp8")
    plain = choose_engine(model, gpu="H100", quantization="int4_awq")
    assert (
        make_plan(model, awq).kv_bytes_per_token * 2 == make_plan(model, plain).kv_bytes_per_token
    )
    fp8 = choose_engine(model, gpu="H100", quantization="fp8", kv_cache_dtype="auto")
    assert make_plan(model, fp8).kv_bytes_per_token == 131_072
    assert "1 x H100 fp8 with auto KV cache" in render(make_plan(model, fp8))
    with pytest.raises(PlanError, match="comes with weights in fp8 or int4_awq only"):
        choose_engine(model, gpu="H100", quantization="int8", kv_cache_dtype="fp8")


def test_the_logits_of_prompts_take_memory_from_the_cache() -> None:
    """A step's tokens and sequences, each with 32-bit logits of the whole vocabulary."""
    model = CATALOG["llama-3-8b-instruct"]
    plain = make_plan(model, model.engine)
    kept = make_plan(model, choose_engine(model, gather_context_logits=True))
    engine = model.engine
    rows = engine.max_num_tokens + engine.max_batch_size * engine.max_beam_width
    more = kept.rank_activation_bytes - plain.rank_activation_bytes
    assert more == rows * 128_256 * 4
    assert kept.kv_tokens < plain.kv_tokens
    assert "tokens a step and their logits, upper estimate" in render(kept)


@pytest.mark.parametrize(
    ("model", "change", "reason"),
    [
        ("stablelm-zephyr-3b", {}, "ModelOpt cannot export a StableLmForCausalLM in int4_awq"),
        ("llama-3-8b-instruct", {"kv_cache_dtype": "fp8"}, "an A10G has no FP8 for the KV cache"),
        ("llama-3-8b-instruct", {"tp_size": 32}, "128 inputs at a time, and intermediate_size"),
    ],
)
def test_int4_awq_that_cannot_be_is_refused(
    model: str, change: dict[str, object], reason: str
) -> None:
    engine = CATALOG[model].engine.model_copy(update={"quantization": "int4_awq", **change})
    with pytest.raises(PlanError, match=reason):
        make_plan(CATALOG[model], engine)


def test_what_the_catalog_does_not_plan_is_its_default_with_the_asked_changes() -> None:
    engine = choose_engine(CATALOG["mistral-7b"], gpu="H200", context=8192)
    changes = {"gpu": "H200", "max_seq_len": 8192}
    assert engine.max_input_len == 8191
    assert engine == CATALOG["mistral-7b"].engine.model_copy(update=changes)


@pytest.mark.parametrize(
    ("model", "change", "reason", "remedy"),
    [
        ("llama-2-70b", {"gpu": "A100-40"}, "does not fit 2 x A100-40", "2 x A100-40 int8"),
        ("llama-2-70b", {"tp_size": 1}, "does not fit 1 x A100-80", "2 x A100-80 float16"),
        ("llama-2-70b", {"gpu": "A10G"}, "does not fit 2 x A10G", "2 x A100-80 float16"),
        ("llama-2-70b", {"quantization": "fp8"}, "A100-80 does not compute in FP8", "2 x H100 fp8"),
        ("llama-2-70b", {"tp_size": 3}, "3 GPUs cannot share 64", "2 x A100-80 float16"),
        ("llama-2-70b", {"context": 8192}, "exceeds the 4096 positions", "shorter context"),
        (
            "stablelm-zephyr-3b",
            {"gpu": "H100", "quantization": "fp8"},
            "cannot export a StableLm",
            "1 x H100 int8",
        ),
        ("mistral-7b", {"context": 1}, "holds no prompt and reply", ""),
    ],
)
def test_a_plan_that_cannot_be_is_refused_with_what_can(
    model: str, change: dict[str, object], reason: str, remedy: str
) -> None:
    with pytest.raises(PlanError) as caught:
        make_plan(CATALOG[model], choose_engine(CATALOG[model], **change))  # type: ignore[arg-type]
    assert reason in str(caught.value)
    assert remedy in str(caught.value)


def test_the_remedies_of_a_refusal_are_accepted() -> None:
    model = CATALOG["llama-2-70b"]
    with pytest.raises(PlanError, match=r"what works: .*2 x A100-40 int8"):
        make_plan(model, choose_engine(model, gpu="A100-40"))
    make_plan(model, choose_engine(model, gpu="A100-40", quantization="int8"))


def test_the_table_names_every_figure() -> None:
    model = CATALOG["llama-2-70b"]
    table = render(make_plan(model, model.engine))
    for figure in ("2 x A100-80 float16", "64.48 GiB", "163,840 B", "76,640", "161.21 GiB"):
        assert figure in table
    rows = [line.split() for line in table.splitlines()]
    assert ["of", "1,000", "tokens", "76"] in rows
    assert ["of", "4,096", "tokens,", "4", "beams", "4"] in rows


def test_json_has_the_figures_as_numbers() -> None:
    model = CATALOG["mistral-7b"]
    plan = json.loads(make_plan(model, model.engine).model_dump_json())
    assert plan["kv_tokens"] == 53_152
    assert plan["concurrent_typical_requests"] == 53
    assert plan["engine"]["gpu"] == "A10G"
