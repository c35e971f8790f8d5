import pytest
from hypothesis import given
from hypothesis import strategies as st

from shim.pages.chat.markdown import ReplyBlocks, to_html

ACTING = ("<script", "<img", "<iframe", "<svg", "<style", "<form", "<input", 'href="javascript')


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("<b>x</b>", "<p>&lt;b&gt;x&lt;/b&gt;</p>\n"),
        ("![a](http://h/i.png)", '<p><span class="reply-image">a (http://h/i.png)</span></p>\n'),
        (
            "[x](https://h/p)",
            '<p><a href="https://h/p" rel="noopener noreferrer nofollow">x</a> '
            '<span class="reply-address">(https://h/p)</span></p>\n',
        ),
        ("[x](javascript:alert(1))", "<p>[x](javascript:alert(1))</p>\n"),
        ("[x](data:text/html,y)", "<p>[x](data:text/html,y)</p>\n"),
        (
            "[x](/logout)",
            '<p><span class="reply-link">x</span> '
            '<span class="reply-address">(/logout)</span></p>\n',
        ),
        ("```\n<i>\n```", None),
    ],
)
def test_nothing_in_a_reply_acts_or_fetches(text: str, html: str | None) -> None:
    made = to_html(text)
    assert html is None or made == html
    assert not any(each in made for each in ACTING)


def test_code_is_highlighted_by_its_language_and_has_a_button_that_copies_it() -> None:
    made = to_html("```python\ndef f(): return '<b>'\n```")
    assert '<span class="k">def</span>' in made
    assert "&lt;b&gt;" in made
    assert 'class="copy-code"' in made
    assert "<span>no-such-language</span>" in to_html("```no-such-language\nx\n```")


pieces = st.sampled_from(
    [
        *("word ", "\n", "\n\n", "\r\n", "- item\n", "1. one\n", "> quote\n", "    code\n"),
        *("```python\n", "```\n", "# title\n", "---\n", "| a | b |\n|-|-|\n", "**bold** "),
        *("<script>", "[x](http://h)"),
    ]
)


@given(st.lists(pieces, max_size=30))
def test_a_reply_that_grows_ends_as_one_that_came_at_once(parts: list[str]) -> None:
    blocks = ReplyBlocks()
    text = ""
    for part in parts:
        text += part
        done, last = blocks.update(text)
        assert not any(each in last for each in ACTING)
    if parts:
        assert "".join(done) + last == to_html(text)
