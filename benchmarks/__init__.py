"""Measurements on real images: run from a checkout, never by the tests. Results lie in ``benchmarks/results/``."""
