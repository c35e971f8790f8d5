"""However the text is cut, it ends before the first stop string."""

from collections.abc import Collection

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from postprocessing.stop_strings import StopStrings

STOPS = st.lists(st.text("ab\n", min_size=1, max_size=4), min_size=1, max_size=4)
CHUNKS = st.lists(st.text("ab\n", max_size=5), max_size=12)


def cut(text: str, stop: list[str], kept: Collection[str] = ()) -> tuple[str, str | None]:
    """The definition: the shortest beginning that ends in a stop string, less the longest such.

    Those of `kept` stay.
    """
    for end in range(1, len(text) + 1):
        matches = [each for each in stop if text[:end].endswith(each)]
        if matches:
            longest = max(matches, key=len)
            return text[: end if longest in kept else end - len(longest)], longest
    return text, None


@settings(max_examples=500)
@given(stop=STOPS, chunks=CHUNKS)
def test_any_chunks_give_the_text_before_the_first_stop_string(
    stop: list[str], chunks: list[str]
) -> None:
    stops = StopStrings(stop)
    text = "".join(stops.push(chunk) for chunk in chunks)
    assert (text + stops.at_end(""), stops.matched) == cut("".join(chunks), stop)


@settings(max_examples=300)
@given(stop=STOPS, kept=STOPS, chunks=CHUNKS, last=st.text("ab\n", max_size=5))
def test_stop_words_stay_in_the_text(
    stop: list[str], kept: list[str], chunks: list[str], last: str
) -> None:
    stops = StopStrings(stop, kept)
    text = "".join(stops.push(chunk) for chunk in chunks)
    expected = cut("".join([*chunks, last]), stop + kept, set(kept) - set(stop))
    assert text + stops.at_end(last) == expected[0]


@settings(max_examples=200)
@given(stop=STOPS, chunks=CHUNKS)
def test_only_what_may_become_a_stop_string_is_held_back(
    stop: list[str], chunks: list[str]
) -> None:
    stops = StopStrings(stop)
    for chunk in chunks:
        stops.push(chunk)
    held_back = stops.at_end("")
    assert not held_back or any(
        len(each) > len(held_back) and each.startswith(held_back) for each in stop
    )


@given(stop=STOPS, chunks=CHUNKS, last=st.text("ab\n", max_size=5))
def test_what_the_end_would_add_is_cut_too(stop: list[str], chunks: list[str], last: str) -> None:
    stops = StopStrings(stop)
    text = "".join(stops.push(chunk) for chunk in chunks)
    assert text + stops.at_end(last) == cut("".join([*chunks, last]), stop)[0]


@pytest.mark.parametrize("stop", [["\n\n", "User:"], ["User:", "\n\n"]])
def test_the_first_of_several_wins(stop: list[str]) -> None:
    stops = StopStrings(stop)
    assert stops.push("a gentle wind\n\nUser: and?") == "a gentle wind"
    assert stops.matched == "\n\n"
    assert stops.push("more") == ""
