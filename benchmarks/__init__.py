"""Races fastconv against its peers on layers of well-known networks: ``python -m benchmarks --help``."""
