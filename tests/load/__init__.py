"""Many visitors at once on a public server: `python -m tests.load`."""
