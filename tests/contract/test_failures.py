import pytest

from aeolus_contract.failures import WRITTEN, FailureKind, failure_text, read_failure


@pytest.mark.parametrize("kind", WRITTEN)
def test_a_failure_is_read_as_it_was_written(kind: FailureKind) -> None:
    failure = read_failure(f"in ensemble 'ensemble', {failure_text(kind, 'why')}")
    assert (failure.kind, failure.text) == (kind, "why")


@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("Maximum queue size of 256 has been reached, please try again later", "queue full"),
        ("Request for unknown model: 'x' has no available versions", "not loaded"),
        ("Request for unknown model: 'x' is not found", "unknown model"),
        ("Stub process 'a_0_0' is not healthy.", "step died"),
        ("something else", "failed"),
    ],
)
def test_what_others_write_is_read_too(text: str, kind: str) -> None:
    failure = read_failure(text)
    assert (failure.kind.value, failure.text) == (kind, text)
