"""What the scripts send: random requests with known answers, and streams by the number."""
