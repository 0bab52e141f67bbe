"""Trust in a result: the second front door. Arrays and results in, in the axes of the input; figures, sentences and
images out.

docs/trust.md says what each measure can tell, what it cannot, and its measured figures.
"""

from napari_dip.core.judge.errors import calibration, peak_of, psnr
from napari_dip.core.noise.pixels import find_bad_pixels
from napari_dip.trust.control import Control, iterate_noise_control, noise_control
from napari_dip.trust.images import estimate_noise, hole_map, hole_warning, left_out, likeness, resolution, sharing
from napari_dip.trust.results import before_and_after, compare, verdict

__all__ = [
    "Control",
    "before_and_after",
    "calibration",
    "compare",
    "estimate_noise",
    "find_bad_pixels",
    "hole_map",
    "hole_warning",
    "iterate_noise_control",
    "left_out",
    "likeness",
    "noise_control",
    "peak_of",
    "psnr",
    "resolution",
    "sharing",
    "verdict",
]
