"""Training of the demo model and writing of its checkpoint."""

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Any

import torch
from torch.nn.functional import cross_entropy
from transformers import LlamaConfig, LlamaForCausalLM

from demo.batches import Batch
from demo.tokenizer import MAX_LENGTH

VOCAB_SIZE = 2048


@dataclass(frozen=True, slots=True)
class TrainingPlan:
    """How long and how fast to learn."""

    steps: int = 2800
    batch_size: int = 14
    learning_rate: float = 2e-3
    weight_decay: float = 0.1
    warmup: int = 100


@dataclass(frozen=True, slots=True)
class Progress:
    """What is known after a step of training."""

    step: int
    loss: float
    """Mean cross-entropy per learned token, in nats, smoothed over about 50 steps."""
    seconds: float
    remaining: float
    """Seconds until the end, at the speed so far."""


def make_model(tokenizer: Any) -> Any:
    """A `LlamaForCausalLM` of 2.8 million random float32 parameters.

    Heads, key-value heads and widths are even, so that it can be split for TP=2.
    """
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCAB_SIZE,
            hidden_size=192,
            intermediate_size=512,
            num_hidden_layers=6,
            num_attention_heads=6,
            num_key_value_heads=2,
            head_dim=32,
            max_position_embeddings=MAX_LENGTH,
            rms_norm_eps=1e-5,
            tie_word_embeddings=True,
            bos_token_id=tokenizer.bos_token_id,
            eos_token_id=tokenizer.eos_token_id,
            pad_token_id=tokenizer.pad_token_id,
        )
    )


def train(model: Any, batches: Iterator[Batch], plan: TrainingPlan) -> Iterator[Progress]:
    """Train `model` in place on `plan.steps` of `batches`; yields after every step."""
    optimizer = torch.optim.AdamW(
        model.parameters(),
        lr=plan.learning_rate,
        betas=(0.9, 0.98),
        weight_decay=plan.weight_decay,
    )
    model.train()
    loss_average = math.log(VOCAB_SIZE)
    start = time.monotonic()
    for step, batch in enumerate(islice(batches, plan.steps)):
        for group in optimizer.param_groups:
            group["lr"] = plan.learning_rate * _schedule(step, plan)
        logits = model(batch.input_ids, use_cache=False).logits
        loss = cross_entropy(logits.flatten(0, 1), batch.labels.flatten())
        optimizer.zero_grad(set_to_none=True)
        torch.autograd.backward(loss)
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        loss_average += (loss.item() - loss_average) / min(step + 1, 50)
        seconds = time.monotonic() - start
        remaining = seconds / (step + 1) * (plan.steps - step - 1)
        yield Progress(step + 1, loss_average, seconds, remaining)
    model.eval()


def _schedule(step: int, plan: TrainingPlan) -> float:
    """Factor of the learning rate: a linear warm-up, then half a cosine down to zero."""
    if step < plan.warmup:
        return (step + 1) / plan.warmup
    done = (step - plan.warmup) / max(1, plan.steps - plan.warmup)
    return 0.5 * (1 + math.cos(math.pi * done))
