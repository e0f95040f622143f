"""Libraries of a thousand runs, and clusters of a hundred GPUs: what cannot be run for real in a test."""
