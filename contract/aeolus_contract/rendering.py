"""The tensor part of each config.pbtxt of the model repository, as text."""

from collections.abc import Iterable, Iterator

from aeolus_contract.steps import (
    ENSEMBLE,
    Step,
    Tensor,
    ensemble_inputs,
    ensemble_outputs,
    steps,
)

BEGIN = "# Made from contract/aeolus_contract by `make generate`; do not edit.\n"
END = "# End of what is made.\n"
TYPE_NAMES = {"BYTES": "STRING"}


def with_tensors(config: str, model: str) -> str:
    """Return a config.pbtxt with the part between `BEGIN` and `END` made anew.

    Raises:
        ValueError: the text does not have both lines, or no such model is known.
    """
    before, begin, rest = config.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"{model}/config.pbtxt has no lines {BEGIN!r} and {END!r}")
    return f"{before}{BEGIN}\n{tensor_part(model)}\n{END}{after}"


def tensor_part(model: str) -> str:
    """Return inputs and outputs of a model, and of the ensemble the connections too.

    Raises:
        ValueError: no such model is known.
    """
    if model == ENSEMBLE:
        return _ensemble()
    step = {each.model: each for each in steps()}.get(model)
    if step is None:
        raise ValueError(f"no model {model!r} is known")
    inputs = (_tensor("input", each, _input_options(step, each)) for each in step.inputs)
    outputs = (_tensor("output", each) for each in step.outputs)
    return _lines(inputs) + "\n" + _lines(outputs)


def _ensemble() -> str:
    inputs = (
        _tensor("input", each, ["optional: true"] if each.is_optional else [])
        for each in ensemble_inputs()
    )
    outputs = (_tensor("output", each) for each in ensemble_outputs())
    connections = ",\n".join(
        "".join(f"    {line}\n" for line in _step(each))[:-1] for each in steps()
    )
    scheduling = f"ensemble_scheduling {{\n  step [\n{connections}\n  ]\n}}\n"
    return "\n".join([_lines(inputs), _lines(outputs), scheduling])


def _step(step: Step) -> Iterator[str]:
    yield "{"
    yield f'  model_name: "{step.model}"'
    yield "  model_version: -1"
    for kind, tensors in (("input_map", step.inputs), ("output_map", step.outputs)):
        for each in tensors:
            if each.ensemble:
                yield f'  {kind} {{ key: "{each.name}" value: "{each.ensemble}" }}'
    yield "}"


def _input_options(step: Step, tensor: Tensor) -> list[str]:
    options = []
    is_number = tensor.dims == (1,) and not (step.scalars_without_dims and tensor.dtype == "BYTES")
    if step.scalars_without_dims and is_number:
        options.append("reshape: { shape: [] }")
    if tensor.is_optional:
        options.append("optional: true")
    if not is_number:
        options.append("allow_ragged_batch: true")
    return options


def _tensor(kind: str, tensor: Tensor, options: Iterable[str] = ()) -> str:
    dims = ", ".join(map(str, tensor.dims))
    type_name = TYPE_NAMES.get(tensor.dtype, tensor.dtype)
    parts = [
        f'name: "{tensor.name}"',
        f"data_type: TYPE_{type_name}",
        f"dims: [ {dims} ]",
        *options,
    ]
    return f"{kind} [{{ {' '.join(parts)} }}]"


def _lines(lines: Iterable[str]) -> str:
    return "".join(f"{line}\n" for line in lines)
