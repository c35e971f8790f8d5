"""What pydantic found wrong in a file, in one line."""

from pydantic import ValidationError


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
