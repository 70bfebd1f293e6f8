"""What happened: signals, readings, and the intake that takes them in."""
