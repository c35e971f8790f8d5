"""What an engine needs and holds, computed before it is built."""
