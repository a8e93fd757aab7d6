"""Grading a class through nbval: `course grade`, `course merge`, `course export`."""
