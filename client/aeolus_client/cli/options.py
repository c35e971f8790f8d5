"""Options that several commands share."""

import json
from typing import Annotated, Any

import typer

from aeolus_client.client import DEFAULT_URL

Url = Annotated[
    str,
    typer.Option(
        envvar="AEOLUS_URL",
        help="http://host:port of a service; grpc:// or triton+http://host:port of a Triton.",
    ),
]
Model = Annotated[
    str | None,
    typer.Option("--model", "-m", envvar="AEOLUS_MODEL", help="The first, if not given."),
]
ApiKey = Annotated[
    str | None,
    typer.Option(envvar="AEOLUS_API_KEY", help="Key of the service.", show_default=False),
]
System = Annotated[str | None, typer.Option("--system", "-s", help="System message.")]
Parameters = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        "-p",
        metavar="NAME=VALUE",
        help="A parameter of generate(), its value as JSON or text; may be given often.",
    ),
]
Timeout = Annotated[
    float, typer.Option(min=0.001, help="Seconds after which a request is stopped.")
]
Json = Annotated[bool, typer.Option("--json", help="Print JSON instead of text.")]
DEFAULT = DEFAULT_URL


def read_parameter(text: str) -> tuple[str, Any]:
    """Read `NAME=VALUE`; what is not JSON is a text.

    Raises:
        typer.BadParameter: there is no name.
    """
    name, sign, value = text.partition("=")
    if not name.strip() or not sign:
        raise typer.BadParameter(f"{text!r}: give NAME=VALUE", param_hint="--set")
    try:
        return name.strip(), json.loads(value)
    except ValueError:
        return name.strip(), value


def read_parameters(given: list[str] | None) -> dict[str, Any]:
    """Read every `NAME=VALUE`; see `read_parameter`."""
    return dict(read_parameter(each) for each in given or ())
