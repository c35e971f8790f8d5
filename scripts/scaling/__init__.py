"""Where shim, text stages and GPUs saturate: a small discrete-event simulation."""
