"""Token ids to text: incremental detokenization and the state of running streams."""
