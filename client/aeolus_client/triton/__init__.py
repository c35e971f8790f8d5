"""Triton's own protocols: the ensemble by gRPC or by HTTP."""

from aeolus_client.triton.client import TritonClient, gather

__all__ = ["TritonClient", "gather"]
