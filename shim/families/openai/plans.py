"""From the bodies of OpenAI's API to what the ensemble is asked for."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any, Literal

from aeolus_client import GenerationRequest
from catalog import ModelEntry
from shim.families.openai.bodies import ChatBody, ChoicesBody, CompletionBody
from shim.parameters.problems import InvalidParametersError, Problem
from shim.parameters.table import generate_map
from shim.parameters.translation import SEEDS, generation_request, sequences_of
from shim.parameters.validation import read_parameters

DEFAULT_COMPLETION_TOKENS = 16  # OpenAI's; a chat's reply may fill the model's context
LIMITS = ("max_tokens", "max_new_tokens")
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
    limit = body.max_completion_tokens
    if limit is not None:
        differing = [name for name in LIMITS if others.get(name, limit) != limit]
        if differing:
            problem = f"means the same as {differing[0]}, but the two differ"
            raise InvalidParametersError([Problem("max_completion_tokens", problem)])
        values["max_new_tokens"] = limit
    entry = _as_openai(model, "messages", model.predict.max_length)
    return _plan(body, [values], [""], entry)


def plan_completion(body: CompletionBody, others: dict[str, Any], model: ModelEntry) -> Plan:
    """Translate a completion of one or more texts.

    Raises:
        InvalidParametersError: with every problem.
    """
    entry = _as_openai(model, "prompt", DEFAULT_COMPLETION_TOKENS)
    problems = [*_completion_problems(body)]
    if problems:
        raise InvalidParametersError(problems)
    values = [
        others | {"prompt" if isinstance(prompt, str) else "input_ids": prompt}
        for prompt in body.prompt
    ]
    prefixes = [prompt if body.echo and isinstance(prompt, str) else "" for prompt in body.prompt]
    return _plan(body, values, prefixes, entry)


def _completion_problems(body: CompletionBody) -> Iterator[Problem]:
    if body.logprobs:
        yield Problem(
            "logprobs",
            f"{body.logprobs} is refused: the engine returns no probabilities of tokens that it "
            "did not choose; 0 is for those that it chose",
        )
    if body.echo and body.wants_logprobs:
        yield Problem("echo", "the engine returns no log probabilities of a prompt")
    if body.echo and not all(isinstance(prompt, str) for prompt in body.prompt):
        yield Problem("echo", "a prompt of token ids is not repeated as text")


def _plan(
    body: ChoicesBody, prompts: list[dict[str, Any]], prefixes: list[str], entry: ModelEntry
) -> Plan:
    n = body.n or 1
    if n * len(prompts) > MAX_SEQUENCES:
        problem = f"{n} replies to {len(prompts)} prompts; at most {MAX_SEQUENCES} are made at once"
        raise InvalidParametersError([Problem("n", problem)])
    own: dict[str, Any] = {"stream": bool(body.stream)}
    if body.seed is not None:
        own["seed"] = body.seed % SEEDS
    parameters = [read_parameters(prompt | own, entry) for prompt in prompts]
    beams = parameters[0].beams(entry.predict)
    if n > beams > 1:
        raise InvalidParametersError([Problem("n", f"more than the {beams} of num_beams")])
    requests = [
        sequence
        for each in parameters
        for sequence in sequences_of(generation_request(each, entry), n)
    ]
    if body.wants_logprobs:
        if beams > 1:
            problem = 'beam search has no text before its end; give "num_beams": 1'
            raise InvalidParametersError([Problem("logprobs", problem)])
        # Only a stream tells which text came with which token.
        requests = [replace(each, return_log_probs=True, stream=True) for each in requests]
    return Plan(requests, n, prefixes, parameters[0].max_time)


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
