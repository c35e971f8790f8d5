"""What becomes of a failure: its status and text, in the shape of the path's API family."""
