"""The demo checkpoint: a tiny chat model, the text it was trained on, and its training."""
