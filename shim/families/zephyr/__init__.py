"""The routes of the zephyr-7b-beta app."""
