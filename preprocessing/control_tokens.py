"""Control tokens that a chat template writes, told apart from text that only spells them.

A template puts the content of messages between its control tokens, and a tokenizer takes every
spelling of one for the token: `<|eot_id|>` in a question would end the user's turn. So before a
conversation is rendered, what could spell a control token in its content is masked; what then
spells one in the rendered text was written by the template, and is replaced by an alias, a token
that the tokenizer knows beside its own. The text is encoded as a whole, its own control tokens
switched off, which leaves every other token as Hugging Face's `apply_chat_template` has it.
"""

import re
import secrets
from collections.abc import Iterable, Mapping, Sequence

from tokenizers import AddedToken
from tokenizers import Tokenizer as Backend

FIRST_MASK, LAST_MASK = 0x100000, 0x10FFFD  # a private use area of Unicode
Mask = Mapping[int, str]
"""Characters to what stands for them, as `str.translate` takes it."""


class ControlTokens:
    """The special tokens of a tokenizer, and those that end a reply."""

    def __init__(self, backend: Backend, end_ids: Iterable[int]):
        """Add an alias of each to `backend`, whose own are switched off by `split_special_tokens`.

        Aliases hold a random number, so that no text can spell them.
        """
        added: dict[int, AddedToken] = backend.get_added_tokens_decoder()
        tokens = {
            token_id: token
            for token_id, token in added.items()
            if token.content and (token.special or token_id in end_ids)
        }
        plain = [token for token in tokens.values() if not token.special]
        backend.add_special_tokens([_copy(token, token.content, True) for token in plain])
        nonce = secrets.token_hex(8)
        self._aliases: dict[str, str] = {}
        self._ids: dict[int | None, int] = {}
        for token_id, token in tokens.items():
            alias = f"{chr(FIRST_MASK)}{nonce}{token_id}{chr(LAST_MASK)}"
            backend.add_tokens([_copy(token, alias, False)])
            self._aliases[token.content] = alias
            self._ids[backend.token_to_id(alias)] = token_id
        contents = sorted(self._aliases, key=len, reverse=True)  # the longest wins, as in backends
        self._pattern = re.compile("|".join(map(re.escape, contents)) or r"(?!)")
        cores = [core for core in (each.strip() for each in contents) if core]
        self._edges = sorted({core[0] for core in cores} | {core[-1] for core in cores})
        self._heads = {core[:size] for core in cores for size in range(1, len(core))}
        self._tails = {core[size:] for core in cores for size in range(1, len(core))}
        self._longest = max(map(len, cores), default=0)

    def mask_for(self, texts: Sequence[str]) -> Mask:
        """Return what hides the control tokens that texts spell, or may spell with what is around.

        It exchanges single characters for ones that are in none of the texts, so that templates
        cut and strip as without it; it is empty where there is nothing to hide.
        """
        if not any(map(self._may_spell, texts)):
            return {}
        used = set().union(*texts)
        free = (chr(code) for code in range(FIRST_MASK + 1, LAST_MASK) if chr(code) not in used)
        return {ord(edge): next(free) for edge in self._edges}

    def masked(self, text: str, mask: Mask) -> str:
        """Return one of those texts so that nothing in it spells a control token."""
        return text.translate(mask) if self._may_spell(text) else text

    def mark(self, text: str, mask: Mask) -> str:
        """Return a rendered text with aliases for its control tokens, and its mask taken off."""
        marked = self._pattern.sub(lambda found: self._aliases[found[0]], text)
        return unmasked(marked, mask)

    def real_ids(self, ids: Iterable[int]) -> list[int]:
        """Return token ids with the real ones in place of the aliases'."""
        return [self._ids.get(token_id, token_id) for token_id in ids]

    def _may_spell(self, text: str) -> bool:
        if self._pattern.search(text):
            return True
        core = text.strip()
        sizes = range(1, min(len(core), self._longest) + 1)
        return any(core[-size:] in self._heads or core[:size] in self._tails for size in sizes)


def unmasked(text: str, mask: Mask) -> str:
    """Return a text with a mask taken off."""
    return text.translate({ord(masked): chr(code) for code, masked in mask.items()})


def _copy(token: AddedToken, content: str, special: bool) -> AddedToken:
    return AddedToken(
        content,
        single_word=token.single_word,
        lstrip=token.lstrip,
        rstrip=token.rstrip,
        normalized=token.normalized,
        special=special,
    )
