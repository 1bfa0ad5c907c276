"""Pruning: channel surgery on every network, schedules of cuts with fine-tuning between them, and a latency target."""
