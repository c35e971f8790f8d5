"""What crosses a process border, written once."""
