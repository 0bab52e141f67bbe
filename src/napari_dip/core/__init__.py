"""The numerics: torch and numpy only. Everything here works in 2-D and 3-D, on batches of one image."""
