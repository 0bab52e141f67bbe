"""The documented home of `Calibration`."""

from napari_dip.io.arrays import Calibration as Calibration
