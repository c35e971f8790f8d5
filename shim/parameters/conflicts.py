"""Parameters that are right by themselves, and wrong together or for their model."""

from collections.abc import Iterator
from typing import Any

from catalog import ModelEntry
from shim.parameters.parameters import Parameters
from shim.parameters.problems import InvalidParametersError, Problem
from shim.parameters.resolved import ResolvedParameters

TOKEN_INPUTS = ("input_ids", "inputs")


def check_sequences(resolved: ResolvedParameters) -> None:
    """Check that a request's reply can hold the sequences it asks for, as Hugging Face does.

    Raises:
        InvalidParametersError: 422 with the reason.
    """
    if (resolved.given.num_return_sequences or 1) == 1:
        return
    if resolved.is_streamed:
        problem = "a stream holds one sequence"
    elif resolved.decoding == "greedy":
        problem = "greedy choice gives the same text each time; leave it out, or sample"
    else:
        return
    raise InvalidParametersError([Problem("num_return_sequences", problem)])


def input_fields(model: ModelEntry) -> tuple[str, ...]:
    """Return the names under which a model takes its prompt or conversation."""
    zephyr = ("user_message", "system_message") if model.zephyr is not None else ()
    return (model.predict.input, *zephyr, *TOKEN_INPUTS)


def input_problems(given: list[str], model: ModelEntry) -> Iterator[Problem]:
    """Yield what is wrong with the choice of input fields; `given` are those of a request."""
    taken = input_fields(model)
    foreign = [name for name in given if name not in taken]
    for name in foreign:
        yield Problem(name, f"{model.name} takes '{model.predict.input}', not '{name}'")
    prompts = [name for name in taken if name in given and name != "system_message"]
    if len(prompts) > 1:
        yield Problem(prompts[1], f"give it or '{prompts[0]}', not both")
    elif "system_message" in given and "user_message" not in given and not foreign:
        yield Problem(
            "system_message", "goes with 'user_message'; in 'messages' it is a turn of role system"
        )
    elif not given:
        yield Problem(model.predict.input, f"required by {model.name}")


def conflicts(resolved: ResolvedParameters, body: dict[str, Any]) -> Iterator[Problem]:
    """Yield the parameters that contradict each other; `body` has also those without effect."""
    parameters = resolved.given
    has_beams = (parameters.num_beams or 1) > 1
    by_default = "" if parameters.stream else '; this model streams unless "stream" is false'
    if len({parameters.max_new_tokens, parameters.max_tokens} - {None}) > 1:
        yield Problem("max_tokens", "means the same as max_new_tokens, but the two differ")
    if (parameters.min_new_tokens or 0) > resolved.max_new_tokens:
        yield Problem(
            "min_new_tokens", f"more than the limit of {resolved.max_new_tokens} new tokens"
        )
    if has_beams and resolved.is_streamed:
        yield Problem(
            "num_beams",
            f"beam search chooses its text at the end, so it cannot be streamed{by_default}",
        )
    if has_beams and parameters.do_sample:
        yield Problem("do_sample", "beam search does not sample; leave out do_sample or num_beams")
    for name, value in parameters.without_beams.items():
        if value and has_beams:
            yield Problem(name, 'means something else in a beam search; give "num_beams": 1')
    if parameters.return_full_text and resolved.is_streamed:
        yield Problem("return_full_text", f"a stream holds only the generated text{by_default}")
    if parameters.max_time is not None and resolved.is_full_text:
        yield Problem(
            "max_time",
            'a reply cut by time does not repeat the prompt; give "return_full_text": false',
        )
    if parameters.max_time is not None and resolved.num_beams > 1:
        yield Problem("max_time", 'beam search has no text before its end; give "num_beams": 1')
    if (parameters.num_return_sequences or 1) > resolved.num_beams > 1:
        yield Problem("num_return_sequences", f"more than the {resolved.num_beams} of num_beams")
    yield from _guide_conflicts(parameters, has_beams)
    yield from _token_conflicts(parameters)
    yield from _template_conflicts(parameters)
    has_short_prompt = parameters.prompt is not None or len(parameters.token_ids or [0, 0]) == 1
    if body.get("forced_bos_token_id") is not None and has_short_prompt:
        yield Problem(
            "forced_bos_token_id", "would act after a prompt of one token, which the engine cannot"
        )


def _guide_conflicts(parameters: Parameters, has_beams: bool) -> Iterator[Problem]:
    if parameters.guide is None:
        return
    name = "response_format" if parameters.guided_decoding is None else "guided_decoding"
    if parameters.guided_decoding and parameters.response_format:
        yield Problem("guided_decoding", "give it or 'response_format', not both")
    if has_beams:
        yield Problem(name, 'a guided reply has one beam; give "num_beams": 1')
    for other in ("min_new_tokens", "min_length"):
        if getattr(parameters, other):
            yield Problem(other, f"a reply ends where its {name} ends; leave it out")


def _token_conflicts(parameters: Parameters) -> Iterator[Problem]:
    if parameters.stop and parameters.stop_strings:
        yield Problem("stop", "give it or 'stop_strings', which stay in the reply, not both")
    mask = parameters.attention_mask
    if mask is None:
        return
    ids = parameters.inputs if parameters.input_ids is None else parameters.input_ids
    if ids is None:
        yield Problem("attention_mask", "goes with 'input_ids'")
    elif len(mask) != len(ids):
        yield Problem("attention_mask", f"has {len(mask)} values for {len(ids)} tokens")
    elif mask != sorted(mask) or not mask[-1]:
        yield Problem("attention_mask", "may mask only padding at the left, and not every token")


def _template_conflicts(parameters: Parameters) -> Iterator[Problem]:
    if parameters.add_generation_prompt and parameters.continue_final_message:
        yield Problem(
            "add_generation_prompt", "no heading follows a message that is continued; give one"
        )
    if parameters.messages is None and parameters.user_message is None:
        for name in ("add_generation_prompt", "continue_final_message"):
            if getattr(parameters, name) is not None:
                yield Problem(name, "goes with 'messages'; any other prompt is continued as it is")
