"""Which blocks of the key-value cache are free, in use, or free but worth keeping.

A block holds `block_size` positions of one sequence. Full blocks are published under the tokens
they hold and those before them; a later prompt that begins with the same tokens takes the blocks
instead of computing them again, also long after the sequence has ended: freed blocks keep their
content until they are needed, the longest unused first.
"""

from collections.abc import Sequence

BEGINNING = 0  # what stands before the first block of every prompt


class BlockPool:
    """Hands out block numbers in [0, num_blocks).

    A published block is found by the serial number of the block before it and its own tokens, so
    that equal content is compared and never guessed from a hash.
    """

    def __init__(self, num_blocks: int, block_size: int) -> None:
        self.num_blocks = num_blocks
        self.block_size = block_size
        self.num_reused = 0  # blocks found by `match` and used since the start
        self._users = [0] * num_blocks
        # In the order in which they are given out.
        self._free: dict[int, None] = dict.fromkeys(range(num_blocks))
        self._published: dict[tuple[int, tuple[int, ...]], int] = {}
        self._keys: dict[int, tuple[int, tuple[int, ...]]] = {}  # by block
        self._serials: dict[int, int] = {}  # by block
        self._last_serial = BEGINNING

    @property
    def num_free(self) -> int:
        """Blocks that `allocate` can give out."""
        return len(self._free)

    def blocks_for(self, num_tokens: int) -> int:
        """Return how many blocks hold `num_tokens` positions."""
        return -(-num_tokens // self.block_size)

    def take(self, token_ids: Sequence[int], num_new: int) -> tuple[list[int], list[int]] | None:
        """Return published blocks that hold the beginning of `token_ids`, and other blocks.

        The last token is left out: its logits are wanted, so it has to be computed.

        Args:
            token_ids: a prompt.
            num_new: how many blocks are needed if nothing can be reused.

        Returns:
            Both lists of blocks; none if there are not enough free ones.
        """
        reused = self._match(token_ids)
        num_new -= len(reused)
        if num_new > self.num_free - sum(self._users[block] == 0 for block in reused):
            return None
        for block in reused:
            self._users[block] += 1
            self._free.pop(block, None)
        self.num_reused += len(reused)
        return reused, [self._allocate() for _ in range(num_new)]

    def publish(self, blocks: Sequence[int], token_ids: Sequence[int]) -> None:
        """Make `blocks`, which hold `token_ids` from their first on, available to others."""
        before = BEGINNING
        for index, block in enumerate(blocks[: len(token_ids) // self.block_size]):
            key = (before, self._tokens(token_ids, index))
            if key not in self._published and block not in self._keys:
                self._last_serial += 1
                self._published[key] = block
                self._keys[block], self._serials[block] = key, self._last_serial
            elif key not in self._published:
                return  # held under the tokens after a block that is gone: cannot be found again
            before = self._serials[self._published[key]]

    def forget_published(self) -> None:
        """Let no prompt find what blocks hold: the cache has lost its content."""
        self._published.clear()
        self._keys.clear()
        self._serials.clear()

    def release(self, blocks: Sequence[int]) -> None:
        """Give back blocks; the last first, since a prefix is useless without its beginning."""
        for block in reversed(blocks):
            self._users[block] -= 1
            if self._users[block] == 0:
                self._free[block] = None

    def _match(self, token_ids: Sequence[int]) -> list[int]:
        found: list[int] = []
        before = BEGINNING
        for index in range((len(token_ids) - 1) // self.block_size):
            block = self._published.get((before, self._tokens(token_ids, index)))
            if block is None:
                break
            found.append(block)
            before = self._serials[block]
        return found

    def _allocate(self) -> int:
        block = next(iter(self._free))
        del self._free[block]
        self._users[block] = 1
        if key := self._keys.pop(block, None):
            del self._published[key], self._serials[block]
        return block

    def _tokens(self, token_ids: Sequence[int], index: int) -> tuple[int, ...]:
        begin = index * self.block_size
        return tuple(token_ids[begin : begin + self.block_size])


class SequenceBlocks:
    """The blocks of one sequence: a table for each beam, and the reserve they grow from.

    Everything that the longest output needs is reserved from the start, so that a running
    sequence never waits for memory. Beams share the blocks in which they agree.
    """

    def __init__(self, pool: BlockPool, reused: list[int], reserve: list[int]) -> None:
        self._pool = pool
        self._all = [*reused, *reserve]
        self._reserve = reserve[::-1]
        self.num_reused_tokens = len(reused) * pool.block_size
        self.tables = [reused]

    @staticmethod
    def num_needed(pool: BlockPool, prompt_length: int, length: int, beams: int) -> int:
        """Return the blocks of the longest output: beams share the full blocks of the prompt."""
        shared = prompt_length // pool.block_size
        return shared + beams * (pool.blocks_for(length) - shared)

    def grow(self, num_tokens: int) -> None:
        """Give every table room for `num_tokens` positions."""
        for table in self.tables:
            while len(table) * self._pool.block_size < num_tokens:
                table.append(self._reserve.pop())

    def fork(self, parents: Sequence[int], num_cached: int) -> tuple[list[int], list[int]]:
        """Let table j continue what table `parents[j]` holds, `num_cached` positions.

        Returns:
            Sources and targets of the copies that must be made: of the last block where it is not
            full and several tables would write to it.
        """
        before = self.tables
        self.tables = [list(before[parent]) for parent in parents]
        kept = {block for table in self.tables for block in table}
        dropped = {block for table in before for block in table} - kept
        self._reserve.extend(sorted(dropped, reverse=True))
        sources: list[int] = []
        targets: list[int] = []
        if num_cached % self._pool.block_size:
            written: set[int] = set()
            for table in self.tables:
                if table[-1] in written:
                    sources.append(table[-1])
                    table[-1] = self._reserve.pop()
                    targets.append(table[-1])
                written.add(table[-1])
        return sources, targets

    def publish(self, token_ids: Sequence[int]) -> None:
        """Make what the first table holds, `token_ids`, available to others."""
        self._pool.publish(self.tables[0], token_ids)

    def release(self) -> None:
        """Give everything back."""
        first = self.tables[0]
        self._pool.release([*first, *(set(self._all) - set(first))])
