"""The chat page at /chat: an ordinary client of the service's own routes, made with NiceGUI."""
