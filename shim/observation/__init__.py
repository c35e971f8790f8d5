"""What operators see of requests: ids, logs, metrics, traces."""
