"""File formats: their endings, what reads those that are not read here, and what each one has no place for."""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from pathlib import Path

from napari_dip.doors import remedy
from napari_dip.io import imagej, ome
from napari_dip.io.picture import Picture

Path_ = str | os.PathLike[str]

#: Of files that are written and read.
ENDINGS = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".npy")

#: Read, and not written.
READABLE = (*ENDINGS, ".lsm")

#: Types that formats for the screen can hold.
SCREEN: dict[str, tuple[str, ...]] = {".png": ("uint8", "uint16"), ".jpg": ("uint8",), ".jpeg": ("uint8",)}

_FIJI = "open it in Fiji (Bio-Formats) and save it as OME-TIFF, or convert it to OME-Zarr with bioformats2raw"
#: Formats that are not read here: ending -> what reads them in Python, to hand the array to a function.
_FOREIGN = {
    ".czi": "pylibCZIrw",
    ".lif": "readlif",
    ".nd2": "nd2",
    ".oib": "oiffile",
    ".oif": "oiffile",
    **dict.fromkeys((".mrc", ".mrcs", ".map", ".rec", ".st", ".ali", ".ccp4"), "mrcfile"),
    **dict.fromkeys((".dv", ".r3d"), "mrc"),
    **dict.fromkeys((".ims", ".h5", ".hdf5", ".hdf"), "h5py"),
    **dict.fromkeys((".vsi", ".zvi", ".lei", ".sld", ".flex", ".stk", ".svs", ".ndpi", ".scn"), "bioio-bioformats"),
    **dict.fromkeys((".dm3", ".dm4", ".ser", ".emd"), "rosettasciio"),
    **dict.fromkeys((".nii", ".mha", ".mhd", ".nrrd"), "SimpleITK"),
    ".dcm": "pydicom",
    ".fits": "astropy",
}

_ZIPPED = (".zip", ".ozx")

_FUNCTION, _INVERTED = "ImageJ's calibration function", "that 0 is white"
#: Format -> what it has no place for.
_LACKS = {
    "OME": ("contrast limits", "lookup tables", "slice labels", _INVERTED),
    "ImageJ": ("wavelengths",),
    ".png": (
        *("channel names", "channel colours", "wavelengths", "contrast limits", "lookup tables", "slice labels"),
        _INVERTED,
    ),
    **dict.fromkeys((".jpg", ".jpeg"), ("transparency", _INVERTED)),
    ".zarr": ("wavelengths", "lookup tables", "slice labels", "transparency", _INVERTED),
}
CLASSIC_BYTES = 2**32 - 2**20  # of pixels in a TIFF with 32-bit offsets, as ImageJ's is; others grow into a BigTIFF
IMAGEJ_ORDER = "TZCYXS"


def ending_of(path: Path, endings: tuple[str, ...] = ENDINGS) -> str:
    """The ending of a path, in lower case.

    Raises
    ------
    ValueError
        If it is none of `endings`.
    """
    ending = path.suffix.lower()
    if ending in _FOREIGN and endings == READABLE:
        raise ValueError(
            f"{path}: {ending} is not read by napari-dip; {_FIJI}, or read it in a script with {_FOREIGN[ending]}"
        )
    if ending in _ZIPPED and endings == READABLE:
        raise ValueError(f"{path}: a zipped zarr is not read by napari-dip; unpack it, and name the folder")
    if ending not in endings:
        known = ", ".join(dict.fromkeys((*endings, ".zarr")))  # which is a folder, and read and written elsewhere
        raise ValueError(f"{path} ends in none of {known}, which say what format it has; rename it if it is one")
    return ending


def format_of(path: Path, picture: Picture) -> str:
    """Format in which a picture is written: "OME", "ImageJ" and "TIFF" (see `tiff`), or the ending of another one."""
    ending = path.suffix.lower()
    if ending not in (".tif", ".tiff"):
        return ending
    if path.stem.lower().endswith(".ome"):
        return "OME"
    values, axes = picture.values, picture.sample_axes
    own = "ImageJ" in picture.display
    fits = values.dtype in ("uint8", "uint16", "float32") or (own and values.dtype == "int16")
    if "S" in axes:
        fits = values.dtype == "uint8" and values.shape[-1] in (1, 3) and picture.alpha is None
    in_order = own or "OME" in picture.display or _is_imagej_order(picture.order)
    small = values.nbytes < CLASSIC_BYTES
    return "ImageJ" if fits and in_order and set(axes) <= set(IMAGEJ_ORDER) and small else "TIFF"


def tell_lost(path: Path_, picture: Picture, told: Sequence[str] = ()) -> None:
    """Warn in one sentence of what a file, or an OME-Zarr, cannot hold of what is known of a picture."""
    path = Path(path)
    form = format_of(path, picture)
    lost = [each for each in _lost(picture, form) if each not in told]
    if not lost:
        return
    way = "a .tif does"
    if set(lost) <= {*picture.display.get("zarr", ())}:
        way = "a .zarr does"
    elif ("OME" in picture.display or "wavelengths" in lost) and form != "OME":
        way = "a .ome.tif does"
    elif _FUNCTION in lost:
        window = "Save as: same type as the input"
        word = remedy(python="output_dtype='input'", command="--output-dtype input", window=window)
        way = f"a .tif of the type of the input ({word}) does"
    warnings.warn(f"{path.name} cannot hold {', '.join(lost)}; {way}", stacklevel=3)


def _lost(picture: Picture, form: str) -> list[str]:
    """Words for what a format cannot hold of a picture."""
    channels, alpha = picture.channels, picture.alpha
    known = {
        "transparency": alpha is not None and bool((alpha != alpha.max()).any()),
        "channel names": any(each.name for each in channels),
        "channel colours": any(each.colour for each in channels),
        "wavelengths": any(each.emission or each.excitation for each in channels),
        "contrast limits": any(each.limits for each in channels),
        "lookup tables": any(each.table is not None for each in channels),
        "slice labels": bool(picture.labels),
        _INVERTED: picture.display.get("photometric") == "miniswhite",
    }
    lost = [] if form == ".zarr" else [*picture.display.get("zarr", ())]
    lost += ome.own(picture) if form != "OME" else []
    lost += imagej.own(picture) if form != "ImageJ" else []
    lost += [word for word in _LACKS.get(form, ()) if known[word]]
    if picture.function is not None and (form != "ImageJ" or picture.values.dtype.kind == "f"):
        lost.append(_FUNCTION)
    if form == "ImageJ" and not _is_imagej_order(picture.order):
        lost.append(f"the order of axes {picture.order}, as ImageJ's is {IMAGEJ_ORDER}")
    if form == "ImageJ" and known["slice labels"] and known["channel names"]:
        lost.append("channel names beside slice labels")
    return lost


def _is_imagej_order(order: str) -> bool:
    places = [IMAGEJ_ORDER.find(axis) for axis in order]
    return places == sorted(places)
