"""Train the demo checkpoint: `python scripts/train_demo.py`, some minutes on two cores."""

import argparse
import time
from pathlib import Path

import torch

from demo.batches import make_batches
from demo.corpus import load_corpus
from demo.examples import ExampleSampler
from demo.export import CHECKPOINT, write_checkpoint
from demo.tokenizer import train_tokenizer
from demo.training import VOCAB_SIZE, TrainingPlan, make_model, train

SEED = 1


def main() -> None:
    """Train on the corpus, print how it goes, write the checkpoint."""
    arguments = _parse()
    # The order of floating-point sums, and with it the result, depends on the thread count.
    torch.set_num_threads(2)
    torch.manual_seed(SEED)
    corpus = load_corpus()
    tokenizer = train_tokenizer(corpus.text, VOCAB_SIZE)
    model = make_model(tokenizer)
    plan = TrainingPlan(steps=arguments.steps)
    examples = iter(ExampleSampler(corpus, tokenizer, SEED))
    batches = make_batches(examples, plan.batch_size, tokenizer.pad_token_id, SEED)
    print(
        f"{len(corpus.entries)} answers, {model.num_parameters():,} parameters, {plan.steps} steps"
    )
    for progress in train(model, batches, plan):
        if progress.step % 50 == 0 or progress.step == plan.steps:
            print(
                f"step {progress.step:5}  loss {progress.loss:.4f}"
                f"  {_minutes(progress.seconds)} gone, {_minutes(progress.remaining)} to go",
                flush=True,
            )
    write_checkpoint(model, tokenizer, arguments.output)
    print(f"written: {arguments.output}")


def _parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=TrainingPlan().steps)
    parser.add_argument("--output", type=Path, default=CHECKPOINT)
    return parser.parse_args()


def _minutes(seconds: float) -> str:
    return time.strftime("%M:%S", time.gmtime(seconds))


if __name__ == "__main__":
    main()
