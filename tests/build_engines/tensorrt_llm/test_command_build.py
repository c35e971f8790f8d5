"""A build runs the composed command on a machine that can, and leaves a whole engine or none."""

import json
from pathlib import Path

import pytest

from build_engines.checkpoint.convert import convert
from build_engines.checkpoint.engine_config import EngineError
from build_engines.plan.capacity import choose_engine
from build_engines.tensorrt_llm.build import build_engine
from build_engines.tensorrt_llm.engine_checks import check_engine
from build_engines.tensorrt_llm.preflight import PreflightError
from build_engines.tensorrt_llm.tool import ToolError
from catalog import EnginePlan, ModelEntry
from support.nvidia_tools import A10G, A100_80, edit_json, install
from support.tiny_models import checkpoint_of, model_of

MISTRAL = model_of("zephyr-7b-beta")
LLAMA_70B = model_of("llama-2-70b")


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    output = tmp_path_factory.mktemp("converted") / "zephyr"
    convert(MISTRAL, checkpoint_of("zephyr-7b-beta"), output)
    return output


def build(
    checkpoint: Path, output: Path, model: ModelEntry = MISTRAL, plan: EnginePlan | None = None
) -> list[str]:
    lines: list[str] = []
    build_engine(model, plan or model.engine, checkpoint, output, report=lines.append)
    return lines


def test_an_engine_is_built_with_its_log_and_timing_cache_in_known_places(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: Path
) -> None:
    install(tmp_path, monkeypatch, gpus=[A10G])
    monkeypatch.chdir(tmp_path)
    lines = build(checkpoint, Path("engines/zephyr"))
    engine = tmp_path / "engines" / "zephyr"
    assert check_engine(engine, MISTRAL, MISTRAL.engine).build_config.max_batch_size == 48
    argv = json.loads((engine / "argv.json").read_text())
    assert argv[:2] == ["--checkpoint_dir", str(checkpoint)]
    assert lines[-1] == "Total time of building all engines: 00:00:00"
    log = (tmp_path / "engines" / "zephyr.log").read_text()
    assert log.startswith("$ trtllm-build --checkpoint_dir")
    assert lines[-1] in log
    assert sorted(path.name for path in (tmp_path / "engines").iterdir()) == [
        "zephyr",
        "zephyr.log",
    ]


def test_the_logits_of_prompts_are_built_in_where_the_plan_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: Path
) -> None:
    install(tmp_path, monkeypatch, gpus=[A10G])
    plan = choose_engine(MISTRAL, gather_context_logits=True)
    build(checkpoint, tmp_path / "engine", plan=plan)
    assert check_engine(tmp_path / "engine", MISTRAL, plan).build_config.gather_context_logits
    with pytest.raises(EngineError, match="gather_context_logits is True, planned is False"):
        check_engine(tmp_path / "engine", MISTRAL, MISTRAL.engine)


@pytest.mark.parametrize(("gpus", "workers"), [([A100_80], "1"), ([A100_80] * 4, "2")])
def test_ranks_are_built_at_once_as_far_as_gpus_reach(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, gpus: list[str], workers: str
) -> None:
    install(tmp_path, monkeypatch, gpus=gpus)
    convert(LLAMA_70B, checkpoint_of("llama-2-70b"), tmp_path / "converted")
    build(tmp_path / "converted", tmp_path / "engine", LLAMA_70B)
    argv = json.loads((tmp_path / "engine" / "argv.json").read_text())
    assert argv[argv.index("--workers") + 1] == workers


@pytest.mark.parametrize("quantization", ["int8", "int4"])
def test_weight_only_quantization_is_the_checkpoints_config_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, quantization: str
) -> None:
    install(tmp_path, monkeypatch, gpus=[A10G])
    stablelm = model_of("stablelm-zephyr-3b")
    plan = stablelm.engine.model_copy(update={"quantization": quantization})
    source = checkpoint_of("stablelm-zephyr-3b")
    convert(stablelm, source, tmp_path / "plain")
    with pytest.raises(EngineError, match="quantization is None, planned is W"):
        build(tmp_path / "plain", tmp_path / "engine", stablelm, plan)
    convert(stablelm, source, tmp_path / "converted", quantization=plan.quantization)
    build(tmp_path / "converted", tmp_path / "engine", stablelm, plan)
    plain, quantized = (tmp_path / name / "rank0.safetensors" for name in ("plain", "converted"))
    assert plain.read_bytes() == quantized.read_bytes()


@pytest.mark.parametrize(
    ("gpus", "version", "reason"),
    [
        ([], "1.2.1", "it has no GPU"),
        ([A10G], "1.1.0", "TensorRT-LLM is 1.1.0, the engines of the catalog are for 1.2.1"),
        ([A100_80], "1.2.1", "the plan is for A10G, but here is 'NVIDIA A100-SXM4-80GB'"),
        ([], "1.1.0", "TensorRT-LLM is 1.1.0.*; it has no GPU"),
    ],
)
def test_a_machine_that_cannot_build_is_told_everything_it_lacks(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    checkpoint: Path,
    gpus: list[str],
    version: str,
    reason: str,
) -> None:
    install(tmp_path, monkeypatch, gpus=gpus, version=version)
    with pytest.raises(PreflightError, match=reason):
        build(checkpoint, tmp_path / "engine")
    assert not (tmp_path / "engine").exists()


def test_without_trtllm_build_the_container_is_named(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(PreflightError, match=r"trtllm-build is not there; run this in the triton"):
        build(checkpoint, tmp_path / "engine")


@pytest.mark.parametrize(
    ("message", "explanation"),
    [
        ("CUDA out of memory", "the GPU's memory was not enough"),
        ("OSError: [Errno 28] No space left on device", "the disk is full"),
        ("KeyError: 'StableLmForCausalLM'", "does not know the checkpoint's architecture"),
        ("RuntimeError: Required but not provided tensors:{'lm_head.weight'}", "lacks tensors"),
        ("something new", r"its last lines: .*\| something new \(log: "),
    ],
)
def test_a_failure_is_explained_and_leaves_the_log_alone(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    checkpoint: Path,
    message: str,
    explanation: str,
) -> None:
    install(tmp_path, monkeypatch, gpus=[A10G])
    monkeypatch.setenv("STAND_IN_FAILURE", message)
    with pytest.raises(ToolError, match=explanation):
        build(checkpoint, tmp_path / "engines" / "zephyr")
    assert [path.name for path in (tmp_path / "engines").iterdir()] == ["zephyr.log"]
    assert message in (tmp_path / "engines" / "zephyr.log").read_text()


def test_a_killed_build_is_put_down_to_host_memory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: Path
) -> None:
    install(tmp_path, monkeypatch, gpus=[A10G])
    monkeypatch.setenv("STAND_IN_KILLED", "1")
    with pytest.raises(ToolError, match="killed, most likely because the host's memory"):
        build(checkpoint, tmp_path / "engine")
    assert not (tmp_path / "engine").exists()


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        ({"tp_size": 2}, "tp_size is 1, planned is 2"),
        ({"dtype": "float16"}, "dtype is bfloat16, planned is float16"),
    ],
)
def test_a_checkpoint_of_another_plan_is_refused(
    tmp_path: Path, checkpoint: Path, change: dict[str, object], reason: str
) -> None:
    plan = MISTRAL.engine.model_copy(update=change)
    with pytest.raises(EngineError, match=reason):
        build(checkpoint, tmp_path / "engine", plan=plan)


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(EngineError, match="is MistralForCausalLM, planned is LlamaForCausalLM"):
        build(checkpoint, tmp_path / "engine", model_of("llama-3-8b-instruct"))


def test_an_existing_output_is_left_alone(tmp_path: Path, checkpoint: Path) -> None:
    with pytest.raises(EngineError, match="exists; remove it"):
        build(checkpoint, tmp_path)


@pytest.mark.parametrize(
    ("keys", "value", "reason"),
    [
        (("version",), "1.2.0", "TensorRT-LLM version is 1.2.0, planned is 1.2.1"),
        (("pretrained_config", "architecture"), "GPTForCausalLM", "planned is MistralForCausalLM"),
        (("pretrained_config", "mapping", "tp_size"), 2, "tp_size is 2, planned is 1"),
        (("build_config", "max_seq_len"), 2048, "max_seq_len is 2048, planned is 4096"),
        (("build_config", "max_beam_width"), 1, "max_beam_width is 1, planned is 4"),
        (("build_config", "kv_cache_type"), "CONTINUOUS", "kv_cache_type is continuous"),
        (
            ("build_config", "plugin_config", "remove_input_padding"),
            False,
            "remove_input_padding is False, planned is True",
        ),
        (("build_config",), {}, r"config\.json: not that of a TensorRT-LLM engine: build_config"),
    ],
)
def test_an_engine_that_is_not_the_planned_one_is_found_out(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    checkpoint: Path,
    keys: tuple[str, ...],
    value: object,
    reason: str,
) -> None:
    install(tmp_path, monkeypatch, gpus=[A10G])
    build(checkpoint, tmp_path / "engine")
    edit_json(tmp_path / "engine" / "config.json", *keys, value=value)
    with pytest.raises(EngineError, match=reason):
        check_engine(tmp_path / "engine", MISTRAL, MISTRAL.engine)


def test_an_engine_that_lacks_a_rank_is_found_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, checkpoint: Path
) -> None:
    install(tmp_path, monkeypatch, gpus=[A10G])
    build(checkpoint, tmp_path / "engine")
    (tmp_path / "engine" / "rank0.engine").unlink()
    with pytest.raises(EngineError, match=r"rank0\.engine is missing"):
        check_engine(tmp_path / "engine", MISTRAL, MISTRAL.engine)
