"""The routes of a service by REST: OpenAI's, predict's and Zephyr's."""
