"""Weights files, the bundled weights, and the checkpoints that training resumes from."""
