"""Training, evaluation, and what they write."""
