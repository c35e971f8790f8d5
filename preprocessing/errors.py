"""Why a request is refused."""


class InvalidRequestError(ValueError):
    """The request cannot be served as it stands; the text says what is wrong and what to do."""
