"""OpenAI's responses: the route that took the place of chat completions, without its store."""
