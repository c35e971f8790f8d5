"""Who may ask to be served before others."""

from aeolus_contract.request_parameters import DEFAULT_PRIORITY
from shim.errors.outcomes import NotAllowedError
from shim.settings import Settings


class PriorityLimits:
    """The highest priority of each API key."""

    def __init__(self, settings: Settings):
        self._limits = settings.priority_limits
        self._has_keys = bool(settings.all_api_keys())

    def check(self, priority: float | None, key_holder: str) -> None:
        """Refuse a priority above the limit.

        Args:
            priority: what it asks for, if anything.
            key_holder: name of the API key's holder, as in the settings.

        Raises:
            NotAllowedError: it asks for more than it may.
        """
        if priority is None or not self._has_keys:
            return
        limit = self._limits.get(key_holder, DEFAULT_PRIORITY)
        if priority > limit:
            raise NotAllowedError(
                f"priority is {priority:g}, but this API key may ask for at most {limit:g}"
            )
