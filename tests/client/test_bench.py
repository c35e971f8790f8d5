"""The arithmetic of a benchmark: lengths, arrivals, latencies, goodput."""

from itertools import islice, pairwise
from pathlib import Path

import pytest

from aeolus_client.bench.load import Load, Sample
from aeolus_client.bench.report import Objective, make_report
from aeolus_client.bench.workload import Lengths, Workload
from aeolus_client.cli.markdown import split_blocks
from aeolus_client.metrics import Metrics


def sample(due: float, first: float, end: float, tokens: int) -> Sample:
    return Sample(due=due, first=first, last=end, end=end, completion_tokens=tokens)


def test_latencies_count_from_when_a_request_was_due() -> None:
    samples = [sample(0.0, 0.5, 1.5, 11), sample(1.0, 2.0, 4.0, 5)]
    report = make_report(samples, Objective())
    assert (report.seconds, report.requests, report.requests_per_second) == (4.0, 2, 0.5)
    assert report.completion_tokens_per_second == 4.0
    assert report.first_token is not None
    assert report.first_token.mean == pytest.approx(750)
    assert report.inter_token is not None
    assert report.inter_token.mean == pytest.approx((100 + 500) / 2)
    assert report.end_to_end is not None
    assert report.end_to_end.max == pytest.approx(3000)


def test_goodput_counts_what_keeps_every_objective() -> None:
    samples = [sample(0.0, 0.5, 1.5, 11), sample(1.0, 2.0, 4.0, 5)]
    for objective, met in (
        (Objective(first_token_ms=600), 1),
        (Objective(first_token_ms=1000, inter_token_ms=100), 1),
        (Objective(end_to_end_ms=1000), 0),
        (Objective(end_to_end_ms=3000), 2),
    ):
        assert make_report(samples, objective).goodput == met / 4


def test_failures_and_what_ended_too_late_do_not_count_as_done() -> None:
    samples = [sample(0, 1, 2, 3), sample(0, 1, 9, 3), Sample(0, error="ServerBusyError: full")]
    report = make_report(samples, Objective(), seconds=5.0)
    assert (report.requests, report.failed, report.seconds) == (1, 1, 5.0)
    assert report.errors == {"ServerBusyError": 1}
    assert report.first_error == "ServerBusyError: full"
    assert make_report([], Objective()).requests_per_second == 0


def test_arrivals_have_the_rate_that_was_asked_for() -> None:
    constant = list(islice(Load(rate=4, arrivals="constant").offsets(), 5))
    assert constant == [0, 0.25, 0.5, 0.75, 1.0]
    poisson = list(islice(Load(rate=4, seed=1).offsets(), 4001))
    assert poisson == list(islice(Load(rate=4, seed=1).offsets(), 4001))
    gaps = [later - earlier for earlier, later in pairwise(poisson)]
    mean = sum(gaps) / len(gaps)
    deviation = (sum((gap - mean) ** 2 for gap in gaps) / len(gaps)) ** 0.5
    assert mean == pytest.approx(0.25, rel=0.05)
    assert deviation == pytest.approx(mean, rel=0.1)  # as of an exponential distribution


@pytest.mark.parametrize("text", ["", "0", "5:2", "a", "1:2:3"])
def test_lengths_that_are_none_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        Lengths.parse(text)


@pytest.mark.parametrize("text", ["", "{", "{}", '{"prompt": ""}'])
def test_a_file_without_prompts_is_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "prompts"
    path.write_text(text)
    with pytest.raises(ValueError, match="prompts"):
        Workload.of_file(path, {})


def test_the_replies_to_prompts_of_a_file_have_the_lengths_that_were_asked_for(
    tmp_path: Path,
) -> None:
    path = tmp_path / "prompts"
    path.write_text('one\n{"prompt": "two", "max_tokens": 3}\n')
    free = Workload.of_file(path, {"top_k": 1})
    assert [free.next().parameters for _ in range(2)] == [
        {"top_k": 1},
        {"top_k": 1, "max_tokens": 3},
    ]
    exact = Workload.of_file(path, {}, Lengths(8, 8))
    assert [exact.next().parameters for _ in range(2)] == [
        {"max_tokens": 8, "min_new_tokens": 8},
        {"max_tokens": 3},
    ]


def test_markdown_is_split_behind_whole_blocks() -> None:
    assert split_blocks("a\nb\n\nc") == ("a\nb\n\n", "c")
    assert split_blocks("```\na\n\nb") == ("", "```\na\n\nb")
    assert split_blocks("```\na\n\nb\n```\n\nc") == ("```\na\n\nb\n```\n\n", "c")
    assert split_blocks("") == ("", "")


def test_metrics_are_read() -> None:
    metrics = Metrics('# HELP a b\na 1\nb{x="1",y="q\\"r"} 2.5\nb{x="2",y="s"} 1e3\nnonsense\n')
    assert metrics.total("a") == 1
    assert metrics.total("b") == 1002.5
    assert metrics.total("b", x="1") == 2.5
    assert metrics.all("b")[0].labels["y"] == 'q\\"r'
    assert metrics.total("c") is None
