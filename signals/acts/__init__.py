"""What can be done with the catalogue of signals and meters."""
