"""Measurements, run from a checkout; results lie in ``benchmarks/results/``, what was tried in ``NOTES.md``.

``python -m benchmarks quality --data FOLDER`` on real images; ``python -m benchmarks.window`` on the window.
"""
