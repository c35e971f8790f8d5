"""Replies as HTML: markdown without anything that acts or fetches by itself.

What a model writes is text. HTML in it is shown as written, images are shown as their address, and
a link leads to http or https only, with its address beside it.
"""

from collections.abc import Sequence
from html import escape
from typing import Any
from urllib.parse import urlsplit

from markdown_it import MarkdownIt
from markdown_it.renderer import RendererHTML
from markdown_it.token import Token
from markdown_it.utils import EnvType, OptionsDict
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

MAX_HIGHLIGHTED_CHARACTERS = 20_000
formatter = HtmlFormatter(nowrap=True)


class ReplyRenderer(RendererHTML):
    """Renders what differs from plain markdown."""

    def fence(
        self, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType
    ) -> str:
        """Render a block of code, its language and a button that copies it."""
        token = tokens[index]
        language = token.info.split(maxsplit=1)[0] if token.info.strip() else ""
        return _code_block(token.content, language)

    def code_block(
        self, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType
    ) -> str:
        """Render an indented block of code."""
        return _code_block(tokens[index].content, "")

    def image(
        self, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType
    ) -> str:
        """Render the description and address of an image, which is not fetched."""
        token = tokens[index]
        return (
            f'<span class="reply-image">{escape(token.content)} ({_address(token, "src")})</span>'
        )

    def link_open(
        self, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType
    ) -> str:
        """Render the beginning of a link."""
        address = str(tokens[index].attrGet("href") or "")
        if not _is_web(address):
            return '<span class="reply-link">'
        return f'<a href="{escape(address)}" rel="noopener noreferrer nofollow">'

    def link_close(
        self, tokens: Sequence[Token], index: int, _options: OptionsDict, _env: EnvType
    ) -> str:
        """Render the end of a link, and where it leads unless its text says so."""
        start = next(
            place for place in reversed(range(index)) if tokens[place].type == "link_open"
        )  # links do not nest
        address = str(tokens[start].attrGet("href") or "")
        is_web = _is_web(address)
        text = "".join(each.content for each in tokens[start:index])
        shown = (
            "" if text == address else f' <span class="reply-address">({escape(address)})</span>'
        )
        return f"{'</a>' if is_web else '</span>'}{shown}"


def _parser() -> MarkdownIt:
    parser = MarkdownIt("commonmark", {"html": False, "breaks": True}, renderer_cls=ReplyRenderer)
    return parser.enable(["table", "strikethrough"])


parser = _parser()


class ReplyBlocks:
    """A growing reply as HTML blocks; all but the last are final."""

    def __init__(self) -> None:
        self._done: list[str] = []
        self._rest_from = 0

    def update(self, text: str) -> tuple[list[str], str]:
        """Take the whole text as it is now; returns the final blocks, and the one that may change.

        Only what may have changed is parsed again, so that a long reply costs no more per piece
        than a short one.
        """
        rest = text.replace("\r\n", "\n").replace("\r", "\n")[self._rest_from :]
        start = _last_block_line(rest)
        if start:
            offset = len("\n".join(rest.split("\n")[:start])) + 1
            self._done.append(to_html(rest[:offset]))
            self._rest_from += offset
            rest = rest[offset:]
        return self._done, to_html(rest)


def to_html(text: str) -> str:
    """Return markdown as HTML that neither acts nor fetches."""
    html: Any = parser.render(text)
    return str(html)


def code_to_html(code: str, language: str) -> str:
    """Return code as a block of HTML."""
    return _code_block(code, language)


def _last_block_line(text: str) -> int:
    """Return the line at which the last block begins; 0 if there is only one."""
    starts = [
        token.map[0] for token in parser.parse(text) if token.level == 0 and token.map is not None
    ]
    return starts[-1] if starts else 0


def _code_block(code: str, language: str) -> str:
    return (
        '<div class="code-block"><div class="code-head">'
        f"<span>{escape(language or 'text')}</span>"
        '<button type="button" class="copy-code" aria-label="Copy code">Copy</button></div>'
        f"<pre><code>{_highlighted(code, language)}</code></pre></div>"
    )


def _highlighted(code: str, language: str) -> str:
    if not language or len(code) > MAX_HIGHLIGHTED_CHARACTERS:
        return escape(code)
    try:
        lexer = get_lexer_by_name(language, stripnl=False)
    except ClassNotFound:
        return escape(code)
    return str(highlight(code, lexer, formatter))


def _address(token: Token, attribute: str) -> str:
    return escape(str(token.attrGet(attribute) or ""))


def _is_web(address: str) -> bool:
    try:
        parts = urlsplit(address)
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.netloc)
