"""Judgement of a restored image: residual, noise-only control, Fourier ring correlation, holes, metrics."""
