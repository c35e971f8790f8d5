"""What one deployment of the shim serves, from where, and within which limits.

Each setting is read from, in this order: the command line of the script that serves, the
environment variable `AEOLUS_<NAME>`, the TOML file that `AEOLUS_CONFIG` names, its default.
"""

import ipaddress
import os
import ssl
import tomllib
from difflib import get_close_matches
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BeforeValidator,
    Field,
    PositiveFloat,
    PositiveInt,
    SecretStr,
    StringConstraints,
    TypeAdapter,
    ValidationError,
    model_validator,
)
from pydantic_settings import (
    BaseSettings,
    NoDecode,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
    TomlConfigSettingsSource,
)
from pydantic_settings import SettingsError as PydanticSettingsError

from catalog import load_catalog

PREFIX = "AEOLUS_"
CONFIG_VARIABLE = f"{PREFIX}CONFIG"
OTHER_VARIABLES = {CONFIG_VARIABLE, f"{PREFIX}RUN_DIRECTORY"}
"""Variables with the prefix that are not settings of the shim; the launcher reads the second."""
MIN_KEY_LENGTH = 16


def _split(value: object) -> object:
    """Let a list come as text with commas, as environment variables have it."""
    if isinstance(value, str):
        return [each.strip() for each in value.split(",") if each.strip()]
    return value


Address = Annotated[str, StringConstraints(pattern=r"^[^\s/]+:\d+$")]
KeyName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9._-]{1,64}$")]
Key = Annotated[SecretStr, Field(min_length=MIN_KEY_LENGTH)]
Keys = dict[KeyName, Key]
Priority = Annotated[float, Field(ge=0.5, le=1)]


class SettingsError(Exception):
    """The settings of this process cannot be used; the text says which, and why."""


class Settings(BaseSettings):
    """Settings of the shim; times in seconds."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        extra="forbid",
        frozen=True,
        hide_input_in_errors=True,  # it may be a key
    )

    host: str = Field(default="127.0.0.1", description="Address that the shim listens on.")
    port: Annotated[int, Field(ge=0, le=65535)] = Field(
        default=8000, description="Port that the shim listens on."
    )
    tls_certificate: Path | None = Field(
        default=None,
        description="PEM file of the certificate, and of those between it and its root, to serve "
        "HTTPS with; plain HTTP if not given.",
    )
    tls_key: Path | None = Field(
        default=None,
        description="PEM file of the certificate's private key, without a passphrase; not needed "
        "if the certificate's file holds it.",
    )
    triton_addresses: Annotated[
        list[Address], NoDecode, BeforeValidator(_split), Field(min_length=1)
    ] = Field(
        default=["127.0.0.1:8001"],
        description="`host:port` of the gRPC service of each Triton, separated by commas. Each "
        "request goes to the one with the fewest running requests among those that are healthy.",
    )
    model_addresses: dict[str, Annotated[list[Address], Field(min_length=1)]] = Field(
        default={},
        description="Tritons of single models, as a JSON object: catalog name and a list of "
        "`host:port`. The others are served by those of `triton_addresses`. Here and there, a "
        "host name stands for all its addresses, and is resolved again with each check.",
    )
    models: Annotated[dict[str, str], Field(min_length=1)] = Field(
        default_factory=lambda: dict.fromkeys(load_catalog(), "ensemble"),
        description="Catalog name of each served model and the Triton ensemble that runs it, as "
        "a JSON object. All models of the catalog if not given.",
    )
    default_model: str | None = Field(
        default=None,
        description="Model that answers where neither path nor host names one; the first of "
        "`models` if not given.",
    )

    api_keys: Keys = Field(
        default={},
        description="API keys by the names of their holders, as a JSON object. Each has at least "
        f"{MIN_KEY_LENGTH} characters. With keys, every request that generates needs one: "
        "`Authorization: Api-Key <key>` or `Bearer <key>`.",
    )
    api_keys_file: Path | None = Field(
        default=None, description='TOML file of further keys, one `name = "key"` a line.'
    )
    priority_limits: dict[KeyName, Priority] = Field(
        default={},
        description="Highest `priority` that the requests of an API key's holder may have, by the "
        "holders' names, as a JSON object; 0.5, which is the default of a request, for those that "
        "it does not name. Without API keys every request may have any.",
    )
    allow_anonymous: bool = Field(
        default=False,
        description="Serve without API keys on an address that other machines can reach.",
    )
    rate_limit_per_minute: PositiveInt | None = Field(
        default=None, description="Requests a minute that each API key may make; no limit if unset."
    )
    rate_limit_burst: PositiveInt = Field(
        default=10, description="Requests that an API key may make at once within its rate."
    )
    cors_origins: Annotated[list[str], NoDecode, BeforeValidator(_split)] = Field(
        default=[],
        description="Origins of the pages whose scripts may call, separated by commas; `*` is any.",
    )

    chat_page: bool = Field(default=True, description="Serve the chat page at `/chat`.")
    triton_metrics_addresses: Annotated[list[Address], NoDecode, BeforeValidator(_split)] = Field(
        default=[],
        description="`host:port` of the metrics service of each Triton, separated by commas, from "
        "which the chat page reads how much of the KV cache is in use; `make serve` sets it.",
    )

    max_body_bytes: PositiveInt = Field(
        default=1 << 20, description="Longest request body; a longer one is a 413."
    )
    max_prompt_characters: PositiveInt = Field(
        default=1 << 16,
        description="Longest prompt or conversation, checked before it is tokenized; a longer one "
        "is a 400.",
    )
    max_running: PositiveInt = Field(
        default=256, description="Requests of one model that Triton is given at once."
    )
    max_waiting: Annotated[int, Field(ge=0)] = Field(
        default=256,
        description="Requests of one model that wait for that; one more is a 429.",
    )
    max_request_seconds: PositiveFloat = Field(
        default=600.0,
        description="Longest that a request may take; the header `x-request-timeout` asks for "
        "less. The engine is then stopped and the reply is a 504.",
    )
    stalled_reader_seconds: PositiveInt = Field(
        default=60, description="A client that takes nothing of its reply for so long is cut off."
    )
    drain_seconds: Annotated[float, Field(ge=0)] = Field(
        default=60.0,
        description="After SIGTERM running requests may take so long to finish; new ones are "
        "refused with 503, and `/health/ready` says 503.",
    )
    health_check_seconds: PositiveFloat = Field(
        default=1.0, description="Period at which each Triton is asked whether it is ready."
    )

    log_level: Literal["DEBUG", "INFO", "WARNING", "ERROR"] = Field(
        default="INFO", description="Least severity that is logged; INFO has a line a request."
    )
    log_prompts: bool = Field(default=False, description="Write prompts into the log.")
    otlp_endpoint: str | None = Field(
        default=None,
        description="Where OpenTelemetry spans are sent: the URL of an OTLP gRPC collector, such "
        "as `http://127.0.0.1:4317`. None are made if unset; a `traceparent` is passed on anyway.",
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read arguments, environment and file, the first one first."""
        file = os.environ.get(CONFIG_VARIABLE)
        if not file:
            return init_settings, env_settings
        if not Path(file).is_file():
            raise FileNotFoundError(f"{CONFIG_VARIABLE}={file}: there is no such file")
        return init_settings, env_settings, TomlConfigSettingsSource(settings_cls, file)

    @property
    def answers_by_default(self) -> str:
        """Name of the model that answers where none is named."""
        return self.default_model or next(iter(self.models))

    def all_api_keys(self) -> dict[str, str]:
        """Return the keys of setting and file by the names of their holders.

        Raises:
            ValueError: the file is not a table of keys, or a name or a key comes twice; the text
                holds no key.
        """
        keys = {name: key.get_secret_value() for name, key in self.api_keys.items()}
        for name, key in self._keys_of_file().items():
            if name in keys:
                raise ValueError(f"{self.api_keys_file}: {name} has a key in api_keys, too")
            keys[name] = key.get_secret_value()
        if len(set(keys.values())) < len(keys):
            raise ValueError("api_keys: two names have the same key")
        return keys

    def _keys_of_file(self) -> Keys:
        if self.api_keys_file is None:
            return {}
        try:
            content: dict[str, Any] = tomllib.loads(self.api_keys_file.read_text(encoding="utf-8"))
            return TypeAdapter(Keys).validate_python(content)
        except (OSError, ValueError) as error:
            # The error of a validation quotes what is wrong with it: the key.
            reason = error.strerror if isinstance(error, OSError) else "invalid"
            raise ValueError(
                f"api_keys_file: {self.api_keys_file}: {reason}; needed are lines of "
                f'name = "key", each key of at least {MIN_KEY_LENGTH} characters'
            ) from None

    @model_validator(mode="after")
    def _models_are_known(self) -> Self:
        unknown = sorted(set(self.models) - set(load_catalog()))
        if unknown:
            raise ValueError(
                f"models: {', '.join(unknown)} not in the catalog, which has "
                f"{', '.join(load_catalog())}"
            )
        if self.answers_by_default not in self.models:
            raise ValueError(
                f"default_model: {self.default_model} is not among the served models "
                f"{', '.join(self.models)}"
            )
        return self

    def addresses_of(self, model: str) -> tuple[str, ...]:
        """Return the addresses of the Tritons that serve a model."""
        return tuple(dict.fromkeys(self.model_addresses.get(model, self.triton_addresses)))

    @model_validator(mode="after")
    def _addresses_are_of_models(self) -> Self:
        unknown = sorted(set(self.model_addresses) - set(self.models))
        if unknown:
            raise ValueError(
                f"model_addresses: {', '.join(unknown)} not among the served models "
                f"{', '.join(self.models)}"
            )
        return self

    @model_validator(mode="after")
    def _certificate_is_usable(self) -> Self:
        if self.tls_certificate is None:
            if self.tls_key is not None:
                raise ValueError("tls_key: is for a tls_certificate, and there is none")
            return self
        try:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            # A passphrase would be asked for on the terminal.
            context.load_cert_chain(self.tls_certificate, self.tls_key, password=lambda: "")
        except OSError as error:
            files = " and ".join(str(each) for each in (self.tls_certificate, self.tls_key) if each)
            raise ValueError(f"tls_certificate: {files}: {error.strerror or error}") from None
        return self

    @model_validator(mode="after")
    def _priorities_are_of_holders(self) -> Self:
        unknown = sorted(set(self.priority_limits) - set(self.all_api_keys()))
        if unknown:
            raise ValueError(f"priority_limits: no API key is called {', '.join(unknown)}")
        return self

    @model_validator(mode="after")
    def _access_is_meant(self) -> Self:
        has_keys = bool(self.all_api_keys())
        if self.rate_limit_per_minute is not None and not has_keys:
            raise ValueError("rate_limit_per_minute: is for each API key, and there are none")
        if not (has_keys or self.allow_anonymous or is_loopback(self.host)):
            raise ValueError(
                f"host: {self.host} can be reached from other machines, and there are no API keys; "
                f"set {PREFIX}API_KEYS or {PREFIX}API_KEYS_FILE, or {PREFIX}ALLOW_ANONYMOUS=true "
                "to serve whoever asks"
            )
        return self


def read_settings(**given: Any) -> Settings:
    """Return the settings of this process; `given` come from its command line.

    Raises:
        SettingsError: a setting is wrong, or an environment variable looks like one and is none.
            The text quotes no value, which could be a key.
    """
    known = {f"{PREFIX}{name.upper()}" for name in Settings.model_fields} | OTHER_VARIABLES
    for name in sorted(os.environ):
        if name.startswith(PREFIX) and name not in known:
            nearest = get_close_matches(name, known, n=1)
            hint = f"; did you mean {nearest[0]}?" if nearest else ""
            raise SettingsError(f"{name}: there is no such setting{hint}")
    try:
        return Settings(**given)
    except ValidationError as error:
        problems = [
            ": ".join([*(str(part) for part in each["loc"]), each["msg"]])
            for each in error.errors(include_input=False, include_url=False)
        ]
        raise SettingsError("; ".join(problems)) from None
    except (OSError, ValueError, PydanticSettingsError) as error:
        raise SettingsError(str(error)) from error


def is_loopback(host: str) -> bool:
    """Whether only this machine reaches what listens on `host`."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
