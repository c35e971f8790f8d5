"""Text or messages to token ids, and every other value of a request checked for the engine."""
