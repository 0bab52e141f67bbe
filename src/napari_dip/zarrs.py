"""The documented home of `Calibration`, with what makes one."""

from napari_dip.io.ngff import AXES as AXES
from napari_dip.io.ngff import Calibration as Calibration
from napari_dip.io.ngff import plain as plain
