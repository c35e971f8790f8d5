"""The parameters that the five READMEs name, each with a value that is not its default."""

from typing import Any

from catalog import ModelEntry

SAMPLING: dict[str, Any] = {"temperature": 0.6, "top_p": 0.7, "top_k": 7}
BEAMS: dict[str, Any] = {"num_beams": 3}
SYSTEM_MESSAGE = "Answer in one word."

README_PARAMETERS: dict[str, dict[str, Any]] = {
    "stablelm-zephyr-3b": {
        **SAMPLING,
        "max_new_tokens": 5,
        "repetition_penalty": 1.3,
        "no_repeat_ngram_size": 2,
        "stream": False,
    },
    "zephyr-7b-beta": {
        **SAMPLING,
        "max_new_tokens": 5,
        "do_sample": False,
        "system_message": SYSTEM_MESSAGE,
        "code": "print(1)",
        "language": "ruby",
        "include_comments": False,
    },
    "mistral-7b": {**SAMPLING, "max_new_tokens": 5, "stream": True},
    "llama-3-8b-instruct": {**SAMPLING, **BEAMS, "max_tokens": 5},
    "llama-2-70b": {**SAMPLING, **BEAMS, "max_new_tokens": 5},
}
"""By model; `prompt`, `messages` and `user_message` come with every request."""
ZEPHYR_PATHS = {
    "system_message": "/zephyr/system-message",
    "code": "/zephyr/code-doc",
    "language": "/zephyr/code-doc",
    "include_comments": "/zephyr/code-doc",
}
QUESTION = "What is a zephyr?"


def question_of(model: ModelEntry, name: str, value: Any) -> tuple[str, dict[str, Any]]:
    """Return the path and body of a short request with one parameter set."""
    if model.zephyr is None:
        messages = [{"role": "user", "content": QUESTION}]
        asked = (
            {"messages": messages} if model.predict.input == "messages" else {"prompt": QUESTION}
        )
        return "/predict", {model.predict.length_parameter: 6, **asked, name: value}
    path = ZEPHYR_PATHS.get(name, "/zephyr/python")
    asked = {"code": "print(2)"} if path == "/zephyr/code-doc" else {"user_message": QUESTION}
    return path, {"max_new_tokens": 6, **asked, name: value}
