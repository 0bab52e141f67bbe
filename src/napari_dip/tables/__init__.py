"""The tables of all that can be said, each row declared once: tasks, knobs, settings, presets."""
