"""The machine that computes, for who stands before the front door: its devices, and the memory that is free there."""

from napari_dip.core.device import Device, available, choose
from napari_dip.core.memory import free

__all__ = ["Device", "available", "choose", "free"]
