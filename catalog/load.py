"""Reading the catalog's TOML files."""

import tomllib
from functools import cache
from pathlib import Path

from pydantic import ValidationError

from catalog.schema import ModelEntry

CATALOG_DIRECTORY = Path(__file__).parent


class CatalogError(ValueError):
    """A catalog file is wrong; the text names the file, the field and the reason."""


def load_model(path: Path) -> ModelEntry:
    """Read one model's file.

    Raises:
        CatalogError: the file is not TOML, or a field is missing, unknown or out of range.
    """
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
        entry = ModelEntry.model_validate(content)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise CatalogError(f"{path}: {error}") from error
    except ValidationError as error:
        raise CatalogError(f"{path}: {field_problems(error)}") from error
    if entry.name != path.stem:
        raise CatalogError(f"{path}: name: is '{entry.name}' but must equal the file's name")
    return entry


@cache
def load_catalog(directory: Path = CATALOG_DIRECTORY) -> dict[str, ModelEntry]:
    """Read every model file of a directory.

    Returns:
        The entries by name, in alphabetical order.

    Raises:
        CatalogError: a file is wrong, or there is none.
    """
    paths = sorted(directory.glob("*.toml"))
    if not paths:
        raise CatalogError(f"{directory}: holds no model file (*.toml)")
    return {path.stem: load_model(path) for path in paths}


def field_problems(error: ValidationError, *, skipped: int = 0) -> str:
    """Name each field and what is wrong with it.

    Args:
        error: what the validation raised.
        skipped: how many parts a field's path begins with that the file does not have, as the
            variant of a discriminated union.
    """
    return "; ".join(
        f"{'.'.join(map(str, each['loc'][skipped:])) or 'the file'}: {each['msg']}"
        for each in error.errors()
    )
