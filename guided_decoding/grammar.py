"""xgrammar: guides compiled for a vocabulary, and the tokens that may come next.

Only its extension is loaded. The package around it imports torch and transformers, which would cost
the process that checks guides 300 MB instead of 15, and seconds of its start.
"""

import json
import time
from functools import cache
from importlib.util import find_spec, module_from_spec, spec_from_file_location
from pathlib import Path
from typing import Any

import numpy as np

from guided_decoding.guide import Guide, GuideError
from guided_decoding.literals import with_one_choice_at_a_time
from guided_decoding.vocabulary import Vocabulary

BITS = 32  # of a word of xgrammar's masks
UNLIMITED = -1
MAX_WHITESPACE = 16
"""Characters between two tokens of JSON: enough for a line's indentation."""
WHITESPACE = r"[ \n\t]"
CHARACTER_OR_CONTROL = r'[^"\\\r\n]'
CHARACTER = r"[^\0-\x1f\"\\]"
ANY_JSON = '{"anyOf": [{"type": "object"}, {"type": "array"}]}'
SECONDS_AHEAD = 0.25
SECONDS_PER_TOKEN = 0.002
MaskArray = np.ndarray[tuple[int], np.dtype[np.bool_]]


class Grammars:
    """Compiles guides for one vocabulary, as TensorRT-LLM 1.2.1 does, and keeps the grammars.

    Source: NVIDIA/TensorRT-LLM, cpp/tensorrt_llm/batch_manager/guidedDecoder.cpp.
    """

    def __init__(self, vocabulary: Vocabulary, max_cache_bytes: int = UNLIMITED):
        """Take a vocabulary.

        Args:
            vocabulary: of the model that follows the guides.
            max_cache_bytes: of compiled guides that are kept; 0 keeps none.

        Raises:
            GuideError: xgrammar is not installed.
        """
        self._xgrammar = _extension()
        self.vocab_size = len(vocabulary.tokens)
        self.end_ids = vocabulary.end_ids
        decoding = json.loads(
            self._xgrammar.TokenizerInfo._detect_metadata_from_hf(vocabulary.tokenizer)
        )
        tokenizer = self._xgrammar.TokenizerInfo(
            vocabulary.tokens,
            decoding["vocab_type"],
            self.vocab_size,
            vocabulary.end_ids,
            decoding["add_prefix_space"],
        )
        self._compiler = self._xgrammar.GrammarCompiler(
            tokenizer, 1, max_cache_bytes != 0, max_cache_bytes
        )

    def compile(self, guide: Guide) -> Any:
        """Return the grammar of a guide, for `follow`; other threads run meanwhile.

        Raises:
            GuideError: it has no grammar; the text is xgrammar's.
        """
        try:
            match guide.kind:
                case "json":
                    return self._compiler.compile_builtin_json_grammar()
                case "json_schema":
                    return self._compiler.compile_json_schema(
                        guide.text, True, None, None, True, None
                    )
                case "regex":
                    grammar = self._xgrammar.Grammar.from_regex(guide.text, False)
                case "ebnf_grammar":
                    grammar = self._xgrammar.Grammar.from_ebnf(guide.text, "root")
            return self._compiler.compile_grammar(grammar)
        except (RuntimeError, ValueError) as error:
            raise GuideError(_reason(error)) from error

    def as_json_grammar(self, guide: Guide) -> Guide:
        """Return a guide for JSON as a grammar, any other as it is.

        The grammar is the one that xgrammar makes of it, less whitespace that does not end, less
        control characters in strings of a limited length, which are no JSON, and with values to
        choose from in a form that it keeps to.

        Raises:
            GuideError: it has no grammar; the text is xgrammar's.
        """
        if guide.kind not in ("json", "json_schema"):
            return guide
        make = self._xgrammar.testing._json_schema_to_ebnf
        try:
            text = make(guide.text or ANY_JSON, True, None, None, True, MAX_WHITESPACE)
        except (RuntimeError, ValueError) as error:
            raise GuideError(_reason(error)) from error
        text = text.replace(WHITESPACE + "*", f"{WHITESPACE}{{0,{MAX_WHITESPACE}}}")
        text = with_one_choice_at_a_time(text.replace(CHARACTER_OR_CONTROL, CHARACTER))
        return Guide("ebnf_grammar", text)

    def follow(self, grammar: Any, end_ids: list[int]) -> "Follower":
        """Return the state of a reply that has yet to begin."""
        matcher = self._xgrammar.GrammarMatcher(grammar, end_ids, False, 0)
        return Follower(matcher, self.vocab_size)


class Follower:
    """What a reply has matched of its grammar so far.

    It may take `SECONDS_AHEAD` of its thread's time, and `SECONDS_PER_TOKEN` more with each token:
    of some grammars a token takes longer than the one before, and others wait for it.
    """

    def __init__(self, matcher: Any, vocab_size: int):
        self._matcher = matcher
        self._vocab_size = vocab_size
        self._words = np.empty((1, -(-vocab_size // BITS)), dtype=np.int32)
        self._seconds_left = SECONDS_AHEAD

    def allowed(self) -> MaskArray:
        """Return which tokens may come next, bool [vocab_size].

        Raises:
            GuideError: it has taken too long so far.
        """
        begin = time.thread_time()
        self._words.fill(-1)  # where every token may come, nothing is written
        self._matcher.fill_next_token_bitmask(self._words, 0, False)
        self._seconds_left += SECONDS_PER_TOKEN - (time.thread_time() - begin)
        if self._seconds_left < 0:
            raise GuideError(
                f"takes more than {SECONDS_PER_TOKEN * 1000:g} ms a token to follow; "
                "make it simpler, with fewer repetitions inside each other"
            )
        bits = np.unpackbits(self._words[0].view(np.uint8), bitorder="little")
        return bits[: self._vocab_size].view(np.bool_)

    def accept(self, token: int) -> None:
        """Go on by a token that was allowed."""
        begin = time.thread_time()
        self._matcher.accept_token(token, False)
        self._seconds_left -= time.thread_time() - begin


@cache
def _extension() -> Any:
    package = find_spec("xgrammar")
    if package is None or package.origin is None:
        raise GuideError("guided decoding needs xgrammar, which is not installed here")
    [path] = Path(package.origin).parent.glob("xgrammar_bindings.*.so")
    spec = spec_from_file_location("xgrammar_bindings", path)
    assert spec is not None, path
    assert spec.loader is not None, path
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def _reason(error: Exception) -> str:
    """Return xgrammar's words without its clock and source file."""
    text = str(error).strip().splitlines()[0]
    return text.split(": ", 1)[-1].strip() if text.startswith("[") else text
