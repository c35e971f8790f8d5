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
    request: PromptRequest, tokenizer: Tokenizer, max_length: int, split_special_tokens: bool
) -> PromptText | list[int]:
    """Return a request's prompt, as token ids if it came so.

    Args:
        request: what a client asks.
        tokenizer: of the model.
        max_length: most tokens of prompt and reply together.
        split_special_tokens: whether control tokens that messages spell are text, where the
            request does not say.

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
    if request.messages is not None:
        prompt = _conversation(request, request.messages, tokenizer, split_special_tokens)
    else:
        _check_goes_with_messages(request)
        if request.input_ids is not None:
            check_ids("input_ids", request.input_ids, tokenizer.vocab_size)
            return request.input_ids
        split = request.parameters.split_special_tokens or False
        prompt = PromptText(given["text_input"], True, split)
    check_size("the prompt", [prompt.text], max_length)
    return prompt


def _conversation(
    request: PromptRequest, messages: str, tokenizer: Tokenizer, split_special_tokens: bool
) -> PromptText:
    parameters = request.parameters
    split, heading = parameters.split_special_tokens, parameters.add_generation_prompt
    return tokenizer.render(
        parse_messages(messages),
        split_special_tokens=split_special_tokens if split is None else split,
        add_generation_prompt=not parameters.continue_final_message if heading is None else heading,
        continue_final_message=parameters.continue_final_message,
    )


def _check_goes_with_messages(request: PromptRequest) -> None:
    parameters = request.parameters
    given = {
        "add_generation_prompt": parameters.add_generation_prompt is not None,
        "continue_final_message": parameters.continue_final_message,
    }
    for name in [name for name, is_given in given.items() if is_given]:
        raise InvalidRequestError(f"{name} goes with messages; any other prompt is continued as is")


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
