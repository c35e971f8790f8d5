"""The engine's own rank: it computes its share and lets the others compute theirs."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import torch

from engine_step.interface import RankLostError
from reference_engine.config import EngineConfig
from reference_engine.model.kv_cache import Row
from reference_engine.model.model_runner import ModelRunner
from reference_engine.ranks.follower import Follower
from reference_engine.ranks.rank import Start, load_rank, use_own_cores
from reference_engine.ranks.share import Rank


class LeadingRunner:
    """A `ModelRunner` over all ranks. Once a call has raised, it cannot be used any more."""

    def __init__(self, runner: ModelRunner, followers: Sequence[Follower]) -> None:
        self._runner = runner
        self._followers = followers

    def forward(self, rows: Sequence[Row]) -> torch.Tensor:
        """Compute logits on all ranks; see `ModelRunner.forward`.

        Raises:
            RankLostError: a rank has ended, or computing has failed on one.
        """
        with self._all_or_none():
            for follower in self._followers:
                follower.call("forward", rows)
            return self._runner.forward(rows)

    def copy_blocks(self, sources: Sequence[int], targets: Sequence[int]) -> None:
        """Copy cache blocks on all ranks; see `ModelRunner.copy_blocks`.

        Raises:
            RankLostError: a rank has ended.
        """
        if not sources:
            return
        with self._all_or_none():
            for follower in self._followers:
                follower.call("copy_blocks", sources, targets)
            self._runner.copy_blocks(sources, targets)

    @contextmanager
    def _all_or_none(self) -> Iterator[None]:
        """After an exception on one rank the others' caches hold something else: all are lost."""
        try:
            yield
        except Exception as error:
            losses = (follower.lost() for follower in self._followers)
            raise next(filter(None, losses), None) or RankLostError(
                f"tensor parallel rank 0 failed: {error!r}; all ranks start again"
            ) from error


@contextmanager
def open_ranks(
    config: EngineConfig, on_lost: Callable[[RankLostError], None]
) -> Iterator[LeadingRunner]:
    """Load the model over its ranks, this process the first; ends the others on leaving.

    Args:
        config: the model, and how many ranks share it.
        on_lost: called from another thread when a rank has ended by itself.

    Raises:
        CheckpointError: the checkpoint cannot be read or not be shared like this.
        RankLostError: a rank ended while it loaded.
    """
    size = config.tensor_parallel_size
    leading, *others = (Rank(index, size) for index in range(size))
    followers: list[Follower] = []
    with ExitStack() as stack:
        with TemporaryDirectory(prefix="aeolus-ranks-") as directory:
            rendezvous = Path(directory) / "rendezvous"
            for rank in others:
                followers.append(Follower(Start(config, rank, rendezvous), on_lost))
                stack.callback(followers[-1].close)
            use_own_cores(leading)
            runner, collectives = load_rank(config, leading)
            for follower in followers:
                follower.wait_for_answer()
            collectives.connect(rendezvous)
            for follower in followers:
                follower.wait_for_answer()
        yield LeadingRunner(runner, followers)
