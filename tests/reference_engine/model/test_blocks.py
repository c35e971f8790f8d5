"""Cache blocks: who has them, what is shared, what is found again."""

import random

from reference_engine.model.blocks import BlockPool, SequenceBlocks

PROMPT = list(range(10))  # two full blocks of four and a half one


def start(pool: BlockPool, prompt: list[int], length: int, beams: int = 1) -> SequenceBlocks:
    taken = pool.take(prompt, SequenceBlocks.num_needed(pool, len(prompt), length, beams))
    assert taken is not None
    return SequenceBlocks(pool, *taken)


def run(pool: BlockPool, prompt: list[int]) -> SequenceBlocks:
    blocks = start(pool, prompt, len(prompt) + 4)
    blocks.grow(len(prompt))
    blocks.publish(prompt)
    return blocks


def test_a_sequence_reserves_its_longest_output_and_gives_everything_back() -> None:
    pool = BlockPool(8, 4)
    blocks = start(pool, PROMPT, length=17)
    assert pool.num_free == 8 - 5
    blocks.grow(17)
    assert len(set(blocks.tables[0])) == 5
    blocks.release()
    assert pool.num_free == 8


def test_what_does_not_fit_takes_nothing() -> None:
    pool = BlockPool(4, 4)
    assert pool.take(PROMPT, 5) is None
    assert pool.num_free == 4


def test_a_prompt_that_is_not_there_any_more_is_found_again() -> None:
    pool = BlockPool(8, 4)
    first = run(pool, PROMPT)
    table = list(first.tables[0])
    first.release()
    second = start(pool, [*PROMPT[:8], 77, 78], length=12)
    assert second.tables[0] == table[:2]
    assert second.num_reused_tokens == 8
    assert pool.num_reused == 2


def test_the_last_token_of_a_prompt_is_always_computed() -> None:
    pool = BlockPool(8, 4)
    run(pool, PROMPT[:8])
    assert start(pool, PROMPT[:8], length=9).num_reused_tokens == 4


def test_a_block_is_found_only_behind_the_same_beginning() -> None:
    pool = BlockPool(12, 4)
    run(pool, PROMPT)
    assert start(pool, [99, *PROMPT[1:]], length=12).num_reused_tokens == 0
    assert start(pool, [*PROMPT[4:8], *PROMPT[4:]], length=12).num_reused_tokens == 0


def test_running_sequences_share_and_the_last_one_frees() -> None:
    pool = BlockPool(8, 4)
    first, second = run(pool, PROMPT), run(pool, PROMPT)
    assert first.tables[0][:2] == second.tables[0][:2]
    assert pool.num_free == 8 - 6
    first.release()
    assert pool.num_free == 8 - 4
    second.release()
    assert pool.num_free == 8


def test_blocks_that_were_not_used_for_longest_are_overwritten_first() -> None:
    pool = BlockPool(6, 4)
    for beginning in (100, 200):
        run(pool, [beginning, *PROMPT[1:8]]).release()
    taken = start(pool, [7] * 12, length=12)
    assert taken.num_reused_tokens == 0
    assert start(pool, [200, *PROMPT[1:8]], length=9).num_reused_tokens == 4


def test_two_that_compute_the_same_prompt_at_once_publish_it_once() -> None:
    pool = BlockPool(12, 4)
    both = [start(pool, PROMPT, length=14) for _ in range(2)]
    for blocks in both:
        blocks.grow(10)
        blocks.publish(PROMPT)
    third = start(pool, PROMPT, length=14)
    assert third.tables[0] == both[0].tables[0][:2]


def test_beams_share_full_blocks_and_copy_the_one_they_write_to() -> None:
    pool = BlockPool(8, 4)
    blocks = start(pool, PROMPT, length=12, beams=3)
    assert pool.num_free == 8 - (2 + 3)
    blocks.grow(10)
    sources, targets = blocks.fork([0, 0, 0], num_cached=10)
    last = [table[-1] for table in blocks.tables]
    assert len(set(last)) == 3
    assert sources == [last[0]] * 2
    assert targets == last[1:]
    assert {tuple(table[:2]) for table in blocks.tables} == {tuple(blocks.tables[0][:2])}


def test_a_beam_that_alone_continues_its_parent_copies_nothing() -> None:
    pool = BlockPool(8, 4)
    blocks = start(pool, PROMPT, length=12, beams=2)
    blocks.grow(10)
    blocks.fork([0, 0], num_cached=10)
    before = blocks.tables
    assert blocks.fork([1, 0], num_cached=11) == ([], [])
    assert blocks.tables == before[::-1]


def test_beams_never_need_more_than_was_reserved() -> None:
    chance = random.Random(1)
    for _ in range(200):
        prompt = [1] * chance.randrange(1, 20)
        length = len(prompt) + chance.randrange(1, 30)
        beams = chance.randrange(2, 5)
        pool = BlockPool(60, 4)
        blocks = start(pool, prompt, length, beams)
        blocks.grow(len(prompt))
        parents = [0] * beams
        for cached in range(len(prompt), length):
            blocks.fork(parents, cached)
            blocks.grow(cached + 1)
            written = [table[cached // 4] for table in blocks.tables]
            assert len(set(written)) == beams
            parents = [chance.randrange(beams) for _ in range(beams)]
        blocks.release()
        assert pool.num_free == 60
