"""Replies that follow a grammar: guides checked, compiled within limits, and followed."""
