"""A request, checked once, and the plan made of it: all that is decided before the first iteration, with its reason."""
