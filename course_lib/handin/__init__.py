"""For learners: `course check`, and what makes `pytest --nbval-lax` say the same."""
