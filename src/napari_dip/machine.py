"""The machine that computes, for who stands before the front door: its devices, and the memory that is free there."""

from napari_dip.core.device import Device, available, choose, has_bfloat16
from napari_dip.core.memory import free

__all__ = ["Device", "available", "choose", "free", "has_bfloat16"]
