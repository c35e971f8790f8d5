"""From the bodies of OpenAI's API to what the ensemble is asked for."""

from dataclasses import dataclass, replace
from typing import Any, Literal

from catalog import ModelEntry
from client import GenerationRequest
from shim.generate_map import generate_map
from shim.generation import SEEDS, generation_request, sequences_of
from shim.openai_bodies import ChatBody, CompletionBody, OpenAIBody
from shim.problems import InvalidParametersError, Problem
from shim.validation import read_parameters

DEFAULT_COMPLETION_TOKENS = 16  # OpenAI's; a chat's reply may fill the model's context
OPENAI_NAMES = {"max_new_tokens": "max_completion_tokens"}
MAX_SEQUENCES = int(generate_map()["num_return_sequences"].at_most or 1)

Input = Literal["messages", "prompt"]


@dataclass(frozen=True, slots=True)
class Plan:
    """The sequences to generate: `n` of each prompt, one prompt after the other."""

    requests: list[GenerationRequest]
    n: int
    prefixes: list[str]
    """What each prompt puts before its replies."""
    max_time: float | None

    def prefix(self, index: int) -> str:
        """Return what comes before the text of a sequence."""
        return self.prefixes[index // self.n]


def plan_chat(body: ChatBody, others: dict[str, Any], model: ModelEntry) -> Plan:
    """Translate a chat.

    Raises:
        InvalidParametersError: with every problem.
    """
    values = others | {"messages": [message.as_turn() for message in body.messages]}
    if body.max_completion_tokens is not None:
        values["max_new_tokens"] = body.max_completion_tokens
    entry = _as_openai(model, "messages", model.predict.max_length)
    return _plan(body, [values], [""], entry)


def plan_completion(body: CompletionBody, others: dict[str, Any], model: ModelEntry) -> Plan:
    """Translate a completion of one or more texts.

    Raises:
        InvalidParametersError: with every problem.
    """
    entry = _as_openai(model, "prompt", DEFAULT_COMPLETION_TOKENS)
    prompts = body.prompts
    values = [others | {"prompt": prompt} for prompt in prompts]
    return _plan(body, values, prompts if body.echo else ["" for _ in prompts], entry)


def _plan(
    body: OpenAIBody, prompts: list[dict[str, Any]], prefixes: list[str], entry: ModelEntry
) -> Plan:
    n = body.n or 1
    if n * len(prompts) > MAX_SEQUENCES:
        problem = f"{n} replies to {len(prompts)} prompts; at most {MAX_SEQUENCES} are made at once"
        raise InvalidParametersError([Problem("n", problem)])
    own: dict[str, Any] = {"stream": bool(body.stream), "num_return_sequences": n}
    if body.seed is not None:
        own["seed"] = body.seed % SEEDS
    try:
        parameters = [read_parameters(prompt | own, entry) for prompt in prompts]
    except InvalidParametersError as error:
        raise InvalidParametersError(
            [replace(each, parameter=_openai_name(each.parameter)) for each in error.problems]
        ) from error
    requests = [
        sequence
        for each in parameters
        for sequence in sequences_of(generation_request(each, entry), n)
    ]
    return Plan(requests, n, prefixes, parameters[0].max_time)


def _openai_name(name: str) -> str:
    return OPENAI_NAMES.get(name, name)


def _as_openai(model: ModelEntry, taken: Input, max_new_tokens: int) -> ModelEntry:
    """Return a model as OpenAI's routes serve it: one beam, the README's sampling."""
    api = model.predict
    defaults = api.defaults.model_copy(update={"max_new_tokens": max_new_tokens, "num_beams": 1})
    update = {
        "input": taken,
        "stream": False,
        "return_full_text": False,
        "skip_special_tokens": True,
        "defaults": defaults,
    }
    return model.model_copy(update={"predict": api.model_copy(update=update), "zephyr": None})
