"""The host's own app of this name."""
