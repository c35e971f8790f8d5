"""The five models that the project was made for; the catalog may have more."""

FIVE = {
    "stablelm-zephyr-3b",
    "mistral-7b",
    "llama-3-8b-instruct",
    "llama-2-70b",
    "zephyr-7b-beta",
}
