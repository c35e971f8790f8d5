import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from guided_decoding import trial
from guided_decoding.guide import Guide, GuideError
from guided_decoding.trial import TooManyTrialsError, Trials

CHECKPOINT = Path(__file__).parents[2] / "demo" / "checkpoint"
TALL = "(" * 5 + "a" + "{1,100})" * 5
"""Short to write and to compile, but each of its tokens takes longer than the one before."""
LARGE = json.dumps({"properties": {f"p{number}": {} for number in range(1500)}})


@pytest.fixture(scope="module")
def trials() -> Iterator[Trials]:
    served = Trials(CHECKPOINT)
    yield served
    served.close()


def test_a_guide_that_compiles_is_remembered(trials: Trials) -> None:
    guide = Guide("regex", "[a-c]+")
    assert trials.check([guide]).result() == [guide]
    assert trials.check([guide]).done()


def test_json_becomes_a_grammar_without_endless_whitespace(trials: Trials) -> None:
    guides = [Guide("json"), Guide("json_schema", r'{"enum": [{"a": "[ \n\t]*"}]}')]
    for tried in trials.check(guides).result():
        assert tried.kind == "ebnf_grammar"
        assert r"[ \n\t]*" not in tried.text


@pytest.mark.parametrize(
    ("guide", "reason"),
    [
        (Guide("regex", "["), "Unclosed"),
        (Guide("regex", "(?=a)b"), "position 3: Lookahead is not supported"),
        (Guide("ebnf_grammar", "root ::= other"), 'line 1, column 10: Rule "other"'),
        (Guide("ebnf_grammar", 'start ::= "a"'), "root rule with name"),
        (Guide("regex", "(" * 9000 + "a" + ")" * 9000), "breaks the compiler"),
        (Guide("regex", TALL), "ms a token to follow; make it simpler"),
    ],
)
def test_a_guide_that_no_engine_should_have_is_refused_with_the_reason(
    trials: Trials, guide: Guide, reason: str
) -> None:
    for _ in range(2):  # tried, then remembered
        with pytest.raises(GuideError, match=reason):
            trials.check([Guide("regex", "a"), guide]).result()


def test_a_guide_that_takes_too_long_ends_its_process_and_the_next_one_is_served() -> None:
    trials = Trials(CHECKPOINT, max_seconds=0.5)
    try:
        with pytest.raises(GuideError, match=r"more than 0\.5 s to compile"):
            trials.check([Guide("json_schema", LARGE)]).result()
        trials.check([Guide("regex", "a")]).result()
    finally:
        trials.close()


def test_a_guide_that_takes_too_much_memory_is_refused_and_the_next_one_is_served() -> None:
    trials = Trials(CHECKPOINT, max_bytes=8 << 20)
    try:
        with pytest.raises(GuideError, match="too much memory to compile"):
            trials.check([Guide("json_schema", LARGE)]).result()
        trials.check([Guide("regex", "a")]).result()
    finally:
        trials.close()


def test_more_guides_than_are_worth_waiting_for_are_turned_away(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(trial, "MAX_WAITING", 1)
    trials = Trials(CHECKPOINT)
    try:
        first = trials.check([Guide("json_schema", LARGE)])
        with pytest.raises(TooManyTrialsError, match="later"):
            trials.check([Guide("regex", "b")]).result()
    finally:
        trials.close()
    assert first.cancelled() or first.exception() is not None


def test_a_checkpoint_without_a_tokenizer_says_so(tmp_path: Path) -> None:
    trials = Trials(tmp_path)
    with pytest.raises(GuideError, match=r"needs .*tokenizer\.json"):
        trials.check([Guide("json")]).result()
