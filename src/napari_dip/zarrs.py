"""The documented home of `Calibration`."""

from napari_dip.io.ngff import Calibration as Calibration
