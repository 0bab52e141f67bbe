"""Image files in and out, with all that they say besides pixels. Imports nothing else of this package."""
