"""One model over several ranks, each a process with its share of every large weight.

Rank 0 is the engine's own process and decides everything; the others repeat its calls to
`ModelRunner` on their shares of the weights and of the cache.
"""
