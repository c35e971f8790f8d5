"""Weights that are added to the logits of some tokens, as the dense vector the engine takes."""

import math
from collections.abc import Sequence

import numpy as np

from aeolus_contract.failures import InvalidRequestError
from preprocessing.tokenizer import Tokenizer
from preprocessing.words import check_ids

LARGEST = 1e6
"""Far beyond it scores leave the range of float32, and no token can be chosen any more."""

Float32Array = np.ndarray[tuple[int, ...], np.dtype[np.float32]]


def embedding_bias(
    tokenizer: Tokenizer,
    words: Sequence[str],
    weights: Sequence[float],
    ids: Sequence[int],
    id_weights: Sequence[float],
) -> tuple[Float32Array | None, list[int]]:
    """Return FP32 [vocabulary], or nothing where nothing is weighted, and the banned tokens.

    Every token of a word gets the word's weight; weights of one token add up
    (NVIDIA/TensorRT-LLM, triton_backend/all_models/inflight_batcher_llm/preprocessing/1/model.py,
    which however encodes the words with special tokens and so weights BOS as well). A token of
    weight -inf is banned, which is a bad word's work: in a beam search a bias comes before the
    softmax, so the tokens that remain would share its probability.

    Raises:
        InvalidRequestError: lists differ in length, a weight is not a finite number, or an id is
            outside the vocabulary.
    """
    _check_weights("embedding_bias_words", words, "embedding_bias_weights", weights)
    _check_weights("embedding_bias_ids", ids, "embedding_bias_id_weights", id_weights)
    check_ids("embedding_bias_ids", ids, tokenizer.vocab_size)
    weighted = [*zip(ids, id_weights, strict=True)]
    for word, weight in zip(words, weights, strict=True):
        encoded = tokenizer.encode(word) if word else []
        weighted += [(token_id, weight) for token_id in encoded]
    banned = sorted({token_id for token_id, weight in weighted if weight == -math.inf})
    weighted = [each for each in weighted if each[1] != -math.inf]
    if not weighted:
        return None, banned
    bias = np.zeros(tokenizer.vocab_size, dtype=np.float32)
    for token_id, weight in weighted:
        bias[token_id] += weight
    return bias, banned


def _check_weights(
    name: str, items: Sequence[object], weights_name: str, weights: Sequence[float]
) -> None:
    if len(items) != len(weights):
        raise InvalidRequestError(
            f"{name} has {len(items)} values and {weights_name} {len(weights)}; "
            "send one weight for each"
        )
    for weight in weights:
        if math.isnan(weight) or weight > LARGEST:
            raise InvalidRequestError(
                f"{weights_name} holds {weight:g}; it must be at most {LARGEST:g}; -inf is never"
            )
