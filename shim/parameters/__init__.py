"""The parameters of generate(): their table, and the way from it to what the engine is asked."""
