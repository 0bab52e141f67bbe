"""The front door, and the loop over slices or blocks behind it, with the images that a fit becomes."""
