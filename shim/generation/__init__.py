"""Running generations: models, replicas, admission, sequences."""
