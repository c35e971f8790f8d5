"""Pages for people: welcome, API description, settings."""
