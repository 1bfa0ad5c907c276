"""The promises of docs/reliability.md, each as a short test and as a long one: `python -m tests.robust.NAME`."""
