"""Formats without a place for a record, .npy and JPEG: axes, pixel sizes and record lie beside the image, as JSON."""

from __future__ import annotations

import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from napari_dip.io.picture import Picture, guess_axes, known_in, make_picture, record_in
from napari_dip.io.screen import read_screen

_NPY = b"\x93NUMPY"  # that an array of numpy begins with


def beside(path: Path) -> Path:
    return path.with_name(path.name + ".json")


def read_jpeg(path: Path) -> Picture:
    sheet = read_sheet(path)
    sheet.pop("axes", None)
    return replace(read_screen(path), record=record_in(sheet.get("notes", "")), **sheet)


def read_npy(path: Path) -> Picture:
    with path.open("rb") as file:
        if file.read(len(_NPY)) != _NPY:
            raise ValueError("it does not begin as one array of numpy does")
    mapped = np.load(path, mmap_mode="r", allow_pickle=False)  # compares the size with that of the file
    values = np.array(mapped)
    del mapped  # a file that is open cannot be replaced on Windows
    sheet = read_sheet(path)
    axes = sheet.pop("axes", "")
    return make_picture(values, axes if len(axes) == values.ndim else guess_axes(values.shape), **sheet)


def write_npy(file: BinaryIO, picture: Picture) -> None:
    np.save(file, picture.samples())


def read_sheet(path: Path) -> dict[str, Any]:
    """Axes, pixel sizes and record that lie beside an image; empty if none do."""
    try:
        text = beside(path).read_text(encoding="utf-8")
        sheet = json.loads(text)
        if {"axes", "pixel_size", "unit"} <= sheet.keys():
            return {"axes": sheet["axes"], "notes": text, **known_in(sheet)}
    except RecursionError:
        warnings.warn(f"{beside(path)} is nested too deep to be read, and is left out", stacklevel=2)
    except (OSError, ValueError, TypeError, AttributeError):  # there is none, or it is another program's
        pass
    return {}


def write_sheet(file: BinaryIO, picture: Picture) -> None:
    file.write(json.dumps({"napari-dip": picture.record, **picture.sheet()}, indent=1).encode())
