"""What is behind the stand-in; the real package has nothing of this name."""
