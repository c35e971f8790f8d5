"""The transformers library: `generate`, and its own continuous batching."""

from pathlib import Path
from typing import Any

from scripts.bench.systems import Prompts, Serve


def generate(directory: Path, dtype: str) -> Serve:
    """Return `transformers.generate`, one request after the other.

    Two requests stand for all: the rate does not depend on how many wait.
    """
    serve_batch = generate_batch(directory, dtype)

    def serve(prompts: Prompts, tokens: int) -> None:
        for prompt in prompts:
            serve_batch([prompt], tokens)

    return serve


def generate_batch(directory: Path, dtype: str) -> Serve:
    """Return `transformers.generate`, all requests in lock step."""
    import torch

    model = transformers_model(directory, dtype)

    def serve(prompts: Prompts, tokens: int) -> None:
        ids = torch.tensor(prompts, device=model.device)
        model.generate(
            ids,
            attention_mask=torch.ones_like(ids),
            do_sample=False,
            max_new_tokens=tokens,
            min_new_tokens=tokens,
            pad_token_id=0,
        )

    return serve


def continuous_batching(directory: Path, dtype: str) -> Serve:
    """Return transformers' own continuous batching."""
    from transformers import ContinuousBatchingConfig, GenerationConfig

    manager = transformers_model(directory, dtype).init_continuous_batching(
        GenerationConfig(do_sample=False, eos_token_id=-1, pad_token_id=0),
        # Without a number of blocks it takes most of the machine's memory.
        ContinuousBatchingConfig(num_blocks=64, use_cuda_graph=False),
    )
    manager.start()

    def serve(prompts: Prompts, tokens: int) -> None:
        manager.add_requests(prompts, max_new_tokens=tokens)
        for _ in prompts:
            result = manager.get_result()
            if result is None or len(result.generated_tokens) != tokens:
                raise SystemExit("continuous batching failed or ended a request early")

    return serve


def write_random_model(config: Any, directory: Path, dtype: str) -> None:
    """Write the model of a configuration, weights spread so widely that logits have no ties."""
    import torch
    from transformers import AutoModelForCausalLM

    from reference_engine.model.hardware import best_device

    device = best_device()
    with device, torch.no_grad():
        model = AutoModelForCausalLM.from_config(config, dtype=getattr(torch, dtype))
        generator = torch.Generator(device).manual_seed(0)
        for name, parameter in model.named_parameters():
            parameter.normal_(1.0 if "norm" in name else 0.0, 0.05, generator=generator)
    model.save_pretrained(directory)


def transformers_model(directory: Path, dtype: str) -> Any:
    """Load a checkpoint as `generate` runs it best on this machine."""
    import torch
    from transformers import AutoModelForCausalLM

    from reference_engine.model.hardware import best_device

    model = AutoModelForCausalLM.from_pretrained(
        directory, dtype=getattr(torch, dtype), attn_implementation="sdpa"
    )
    return model.eval().to(best_device())
