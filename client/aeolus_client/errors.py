"""What can go wrong between a client and the server, by what the caller can do about it."""


class ServiceError(Exception):
    """Base of all errors a client raises; its text may be shown to the end user."""


class InvalidRequestError(ServiceError):
    """The request is wrong and was not run; sending it again will fail again."""


class AuthenticationError(ServiceError):
    """The server asks for an API key, or does not know this one."""


class ModelNotFoundError(ServiceError):
    """The server does not serve that model."""


class ServerBusyError(ServiceError):
    """The engine's queue is full; the request was not run and may be sent again later."""


class ServerEndingError(ServiceError):
    """This client's own process is shutting down."""


class ServerUnavailableError(ServiceError):
    """The server cannot be reached, is starting or stopping, or went away in mid-reply."""


class ConnectionFailedError(ServerUnavailableError):
    """The connection failed before the reply began; another server may be asked at once."""


class ServerBrokenError(ServerUnavailableError):
    """A part of the server has died: it can be reached, and answers nothing until a new start."""


class DeadlineExceededError(ServiceError):
    """The request took longer than it may; it was stopped."""


class GenerationFailedError(ServiceError):
    """The engine failed while it ran the request."""
