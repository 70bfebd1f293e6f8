"""The documentation is true: its commands run, its code works, its links lead somewhere, what it names is there."""
