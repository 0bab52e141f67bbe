"""The noise of an image: its model and estimate, pixels that measured nothing, stabilisation, correlation."""
