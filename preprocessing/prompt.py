"""The prompt of a request, which comes in one of three forms."""

from collections.abc import Sequence

from aeolus_contract.failures import InvalidRequestError
from preprocessing.messages import parse_messages
from preprocessing.request import PromptRequest
from preprocessing.tokenizer import PromptText, Tokenizer
from preprocessing.words import check_ids

# A text with more bytes for each token it may have is refused before the time to tokenize it is
# spent, in which no other request is served. Words have 4 to 5 bytes a token, long runs of blanks
# or dashes a few dozen.
MAX_BYTES_PER_TOKEN = 64


def prompt_of(
    request: PromptRequest, tokenizer: Tokenizer, max_length: int
) -> PromptText | list[int]:
    """Return a request's prompt, as token ids if it came so.

    Raises:
        InvalidRequestError: there is not exactly one, or it is not what it should be.
    """
    given = {
        name: getattr(request, name)
        for name in ("text_input", "messages", "input_ids")
        if getattr(request, name) is not None
    }
    if not given:
        raise InvalidRequestError("send text_input or messages (or input_ids)")
    if len(given) > 1:
        raise InvalidRequestError(f"send either {' or '.join(given)}, not both")
    if request.input_ids is not None:
        check_ids("input_ids", request.input_ids, tokenizer.vocab_size)
        return request.input_ids
    if request.messages is not None:
        # The chat template writes the special tokens itself.
        prompt = PromptText(tokenizer.render(parse_messages(request.messages)), False)
    else:
        prompt = PromptText(given["text_input"], True)
    check_size("the prompt", [prompt.text], max_length)
    return prompt


def check_size(name: str, texts: Sequence[str], max_tokens: int) -> None:
    """Refuse texts that are certainly too long, before they are tokenized.

    Raises:
        InvalidRequestError: with their size and the limit.
    """
    size = sum(len(text.encode()) for text in texts)
    if size > MAX_BYTES_PER_TOKEN * max_tokens:
        raise InvalidRequestError(
            f"{name} has {size} bytes, which is more than {max_tokens} tokens can hold, the most "
            "that prompt and reply together may have; shorten it"
        )
