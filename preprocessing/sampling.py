"""The values that choose the next token: ranges, and what the engine reads differently."""

import math

from aeolus_contract.failures import InvalidRequestError
from aeolus_contract.parameters import EngineName, Number, fixed_values, sampling_parameters

Values = dict[str, Number]


def check_sampling(values: Values, max_beam_width: int, engine: EngineName, stream: bool) -> Values:
    """Check a request's values and return those the engine must be given.

    Args:
        values: those that were sent, by the ensemble's names.
        max_beam_width: the widest beam search that the engine was started for; a wider one would
            end every running request of the C++ backend.
        engine: which engine is behind the ensemble.
        stream: whether the reply is streamed.

    Raises:
        InvalidRequestError: a value is out of range, or the engine cannot do as it says.
    """
    rows = sampling_parameters()
    for name, value in values.items():
        if name != "beam_width" and not rows[name].allows(value):
            raise InvalidRequestError(f"{name} is {value:g}; it must be {rows[name].range_text}")
    beam_width = values.get("beam_width", 1)
    _check_beams(beam_width, max_beam_width, stream)
    if beam_width > 1:
        forwarded = {**_beam_defaults(engine), **values}
    else:
        forwarded = {name: value for name, value in values.items() if not rows[name].beams_only}
    forwarded.pop("num_return_sequences", None)
    for name, fixed in fixed_values(engine).items():
        value = forwarded.pop(name, fixed.value)
        if not math.isclose(value, fixed.value, rel_tol=1e-6):
            raise InvalidRequestError(fixed.refusal(name, value))
    return _with_temperature_zero_as_greedy(forwarded)


def _check_beams(beam_width: Number, max_beam_width: int, stream: bool) -> None:
    if not 1 <= beam_width <= max_beam_width:
        raise InvalidRequestError(
            f"beam_width is {beam_width}; this model was started for widths 1 to {max_beam_width}"
        )
    if beam_width > 1 and stream:
        raise InvalidRequestError(
            f"beam_width is {beam_width} and stream is true, but a beam search may rewrite its "
            "text until its end; ask for one of the two"
        )


def _with_temperature_zero_as_greedy(values: Values) -> Values:
    """The engine would sample from the whole distribution when top_p alone comes with it."""
    if values.get("temperature") != 0:
        return values
    return {name: value for name, value in values.items() if name != "temperature"} | {"top_k": 1}


def _beam_defaults(engine: EngineName) -> Values:
    return {
        name: row.beam_default
        for name, row in sampling_parameters().items()
        if row.beam_default is not None and engine not in row.fixed
    }
