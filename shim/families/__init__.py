"""The API families: Truss's predict, Zephyr's app, OpenAI's."""
