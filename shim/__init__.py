"""The REST service in front of Triton: one FastAPI process without tokenizer or model."""

import os

# gRPC's handlers around fork() are of no use before an exec, and can end the child instead; it
# reads this when its first channel is made.
os.environ.setdefault("GRPC_ENABLE_FORK_SUPPORT", "0")
