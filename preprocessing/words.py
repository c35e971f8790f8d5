"""Words that a reply must end at or not contain: to token ids, and to TensorRT-LLM's layout."""

import json
from collections.abc import Sequence

import numpy as np

from aeolus_contract.failures import InvalidRequestError
from preprocessing.tokenizer import Tokenizer

Int32Array = np.ndarray[tuple[int, ...], np.dtype[np.int32]]
Words = list[list[int]]

MAX_WORDS = 1024


def encode_words(tokenizer: Tokenizer, words: Sequence[str]) -> Words:
    """Encode words without special tokens; empty ones are dropped."""
    encoded = (tokenizer.encode(word) for word in words if word)
    return [ids for ids in encoded if ids]


def parse_word_ids(name: str, text: str, vocab_size: int) -> Words:
    """Read words that came as token ids: a JSON list of lists; empty ones are dropped.

    Raises:
        InvalidRequestError: it is anything else, or an id is outside the vocabulary.
    """
    try:
        words = json.loads(text or "[]")
    except (ValueError, RecursionError) as error:
        raise InvalidRequestError(f"{name} is not valid JSON: {error}") from error
    if not isinstance(words, list) or not all(isinstance(word, list) for word in words):
        raise InvalidRequestError(f"{name} must be a list of lists of token ids")
    for word in words:
        check_ids(name, word, vocab_size)
    return [word for word in words if word]


def check_ids(name: str, ids: Sequence[object], vocab_size: int) -> None:
    """Refuse anything but token ids of a model.

    Raises:
        InvalidRequestError: with the first that is none.
    """
    for token_id in ids:
        if type(token_id) is not int or not 0 <= token_id < vocab_size:
            raise InvalidRequestError(
                f"{name} holds {token_id!r}; token ids of this model are 0 to {vocab_size - 1}"
            )


def check_number(name: str, words: Words) -> None:
    """Refuse more words than an engine can look for after each token, for all its requests.

    Raises:
        InvalidRequestError: with their number and the limit.
    """
    if len(words) > MAX_WORDS:
        raise InvalidRequestError(
            f"{name} has {len(words)} sequences of tokens; send {MAX_WORDS} or fewer"
        )


def check_some_token_is_left(bad_words: Words, vocab_size: int) -> None:
    """Refuse bad words that are the whole vocabulary.

    Raises:
        InvalidRequestError: they are.
    """
    if len({word[0] for word in bad_words if len(word) == 1}) == vocab_size:
        raise InvalidRequestError("every token of this model is banned; leave one that may come")


def stop_hints(tokenizer: Tokenizer, stop: Sequence[str]) -> Words:
    """Return token sequences that spell a stop string, at which the engine can end by itself.

    A text can be spelt in more ways than these, so postprocessing looks for it as text. What does
    not decode to the string - a normalizer changed it - would end replies too early.
    """
    variants = [(text, variant) for text in stop if text for variant in (text, f" {text}")]
    encoded = [(text, tokenizer.encode(variant)) for text, variant in variants]
    return distinct([ids for text, ids in encoded if ids and text in tokenizer.decode(ids)])


def distinct(words: Words) -> Words:
    """Return words in their order, each once."""
    return [list(word) for word in dict.fromkeys(map(tuple, words))]


def word_list(words: Words) -> Int32Array:
    """Lay out words of token ids.

    Returns:
        INT32 [2, n], n the number of all tokens: the ids of all words in a row, and where each
        word ends, padded with -1 (NVIDIA/TensorRT-LLM, triton_backend/inflight_batcher_llm/src/
        utils.cc, `convertWordList`). The words [5, 6] and [9] are [[5, 6, 9], [2, 3, -1]].
    """
    ids = [token_id for word in words for token_id in word]
    ends = np.cumsum([len(word) for word in words]).tolist()
    return np.array([ids, ends + [-1] * (len(ids) - len(ends))], dtype=np.int32)
