"""From the bodies of OpenAI's API to what the ensemble is asked for."""

from dataclasses import dataclass, replace
from typing import Any, Literal, TypeVar

from aeolus_client import Completion, GenerationRequest, PromptLogProbs, TextChunk
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
AnyReply = TypeVar("AnyReply", Completion, TextChunk)


@dataclass(frozen=True, slots=True)
class Plan:
    """The sequences to generate: `n` of each prompt, one prompt after the other."""

    requests: list[GenerationRequest]
    n: int
    prompts: list[str | None]
    """What each prompt puts before its replies; `None` where that comes with the replies."""
    max_time: float | None
    wants_logprobs: bool = False
    is_without_reply: bool = False
    """Whether only the prompts are wanted, which the engine reads no further than to a token."""

    @property
    def asks_for_prompts(self) -> bool:
        """Whether the prompts come back from the engine, token by token."""
        return self.requests[0].prompt_logprobs is not None

    def prefix(self, index: int, prompt: PromptLogProbs | None = None) -> str:
        """Return what comes before the text of a sequence.

        Args:
            index: of the sequence.
            prompt: as it came back from the engine.
        """
        text = self.prompts[index // self.n]
        return "".join(prompt.texts if prompt else []) if text is None else text

    def shown(self, reply: AnyReply) -> AnyReply:
        """Return what is shown of a reply, or of a piece of one."""
        if not self.is_without_reply:
            return reply
        reason = reply.finish_reason and "length"
        nothing: dict[str, Any] = {"log_probs": [], "token_texts": [], "top": [], "output_ids": []}
        return replace(reply, text="", completion_tokens=0, finish_reason=reason, **nothing)


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
    if body.num_top and not body.wants_logprobs:
        raise InvalidParametersError([Problem("top_logprobs", 'goes with "logprobs": true')])
    entry = _as_openai(model, "messages", model.predict.max_length)
    return _plan(body, [values], [""], entry)


def plan_completion(body: CompletionBody, others: dict[str, Any], model: ModelEntry) -> Plan:
    """Translate a completion of one or more texts.

    Raises:
        InvalidParametersError: with every problem.
    """
    entry = _as_openai(model, "prompt", DEFAULT_COMPLETION_TOKENS)
    is_without_reply = bool(body.echo) and others.get("max_tokens") == 0
    if is_without_reply:
        others = others | {"max_tokens": 1}  # no engine makes none
    values = [
        others | {"prompt" if isinstance(prompt, str) else "input_ids": prompt}
        for prompt in body.prompt
    ]
    if not body.echo:
        return _plan(body, values, [""] * len(values), entry)
    texts = [prompt if isinstance(prompt, str) else None for prompt in body.prompt]
    plan = _plan(body, values, texts, entry)
    if not body.wants_logprobs and None not in texts:
        return replace(plan, is_without_reply=is_without_reply)
    top = None if is_without_reply else body.num_top or None
    scored: dict[str, Any] = {"prompt_logprobs": body.num_top, "top_logprobs": top, "stream": True}
    requests = [replace(each, **scored) for each in plan.requests]
    # Who scores a prompt leaves out the token after it (lm-evaluation-harness,
    # lm_eval/models/openai_completions.py): there must be one, even if the model ends there.
    requests = [replace(each, end_ids=[]) if each.max_tokens == 1 else each for each in requests]
    return replace(plan, requests=requests, is_without_reply=is_without_reply)


def _plan(
    body: ChoicesBody,
    prompts: list[dict[str, Any]],
    texts: list[str | None] | list[str],
    entry: ModelEntry,
) -> Plan:
    n = body.n or 1
    if n * len(prompts) > MAX_SEQUENCES:
        problem = f"{n} replies to {len(prompts)} prompts; at most {MAX_SEQUENCES} are made at once"
        raise InvalidParametersError([Problem("n", problem)])
    own: dict[str, Any] = {"stream": bool(body.stream)}
    if body.seed is not None:
        own["seed"] = body.seed % SEEDS
    resolved = [read_parameters(prompt | own, entry) for prompt in prompts]
    beams = resolved[0].num_beams
    if n > beams > 1:
        raise InvalidParametersError([Problem("n", f"more than the {beams} of num_beams")])
    requests = [
        sequence
        for each in resolved
        for sequence in sequences_of(generation_request(each, entry), n)
    ]
    if body.wants_logprobs:
        if beams > 1:
            problem = 'beam search has no text before its end; give "num_beams": 1'
            raise InvalidParametersError([Problem("logprobs", problem)])
        # Only a stream tells which text came with which token.
        top = body.num_top or None
        requests = [
            replace(each, return_log_probs=True, top_logprobs=top, stream=True) for each in requests
        ]
    return Plan(requests, n, [*texts], resolved[0].given.max_time, body.wants_logprobs)


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
