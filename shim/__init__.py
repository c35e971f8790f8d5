"""The REST service in front of Triton: one FastAPI process without tokenizer or model."""
