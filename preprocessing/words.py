"""Stop words and bad words in the layout of TensorRT-LLM's word lists."""

import numpy as np

Int32Array = np.ndarray[tuple[int, ...], np.dtype[np.int32]]


def word_list(words: list[list[int]]) -> Int32Array:
    """Lay out words of token ids.

    Returns:
        INT32 [2, n], n the number of all tokens: the ids of all words in a row, and where each
        word ends, padded with -1 (NVIDIA/TensorRT-LLM, triton_backend/inflight_batcher_llm/src/
        utils.cc, `convertWordList`). The words [5, 6] and [9] are [[5, 6, 9], [2, 3, -1]].
    """
    ids = [token_id for word in words for token_id in word]
    ends = np.cumsum([len(word) for word in words]).tolist()
    return np.array([ids, ends + [-1] * (len(ids) - len(ends))], dtype=np.int32)
