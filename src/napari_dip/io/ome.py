"""OME-XML: read into the fields of a `Picture`, and written for one that was made from it.

What a restoration does not change (instrument, wavelengths, positions, exposures, annotations) is taken over element by
element. The schema is that of June 2016: https://www.openmicroscopy.org/Schemas/OME/2016-06.
"""

from __future__ import annotations

import copy
import math
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from napari_dip.io.channels import Array, Channel
from napari_dip.io.picture import Picture
from napari_dip.io.units import LENGTHS, TIMES, converted, finite, unit_name

Element = ElementTree.Element

SCHEMA = "http://www.openmicroscopy.org/Schemas/OME/2016-06"
SIZES = {"X": "PhysicalSizeX", "Y": "PhysicalSizeY", "Z": "PhysicalSizeZ", "T": "TimeIncrement"}
_EMPTY = '<OME><Image ID="Image:0"><Pixels ID="Pixels:0"/></Image></OME>'
_TYPES = {"float32": "float", "float64": "double", **{k: k for k in ("int8", "int16", "int32")}}
_TYPES |= {f"u{name}": f"u{name}" for name in ("int8", "int16", "int32")}
_OF_SEVERAL = ("Plate", "Screen", "Dataset", "Project", "Folder", "ROI")  # refer to other images of the file too
_BEFORE_DESCRIPTION = ("AcquisitionDate", "ExperimenterRef")
_PLANES = {"Position": "positions", "Exposure": "exposure times", "DeltaT": "times of planes"}  # how names begin
_PARTS = {"Instrument": "instrument", "ROI": "regions of interest", "StructuredAnnotations": "annotations"}


def parse(xml: str) -> Element:
    """The root of a document, with the schema's elements under their plain names."""
    root = ElementTree.fromstring(xml)
    space = root.tag.partition("}")[0] + "}"
    for element in root.iter():
        if isinstance(element.tag, str):
            element.tag = element.tag.removeprefix(space)
    return root


def images(root: Element) -> list[Element]:
    """The images, as far as they have pixels."""
    return [image for image in root.iter("Image") if image.find("Pixels") is not None]


def missing(root: Element, folder: Path) -> dict[str, list[str]]:
    """The files of a set that are not in its folder -> the planes that they hold."""
    found: dict[str, list[str]] = {}
    for data in root.iter("TiffData"):
        for uuid in data.iter("UUID"):
            name = uuid.get("FileName", "")
            if name and uuid.text != root.get("UUID") and not (folder / name).exists():
                first = " ".join(f"{axis}={data.get(f'First{axis}')}" for axis in "TCZ" if data.get(f"First{axis}"))
                found.setdefault(name, []).append(first or "all")
    return found


def alone(root: Element, name: str) -> bool:
    """True if a file refers to nothing but one file, under a name that it had before: itself."""
    files = {uuid.get("FileName", "") for uuid in root.iter("UUID")}
    return len(files) == 1 and files != {name} and root.get("UUID") is None


def companion(root: Element) -> str:
    """The name of the file with the metadata, where it is another one."""
    only = root.find("BinaryOnly")
    return "" if only is None else only.get("MetadataFile", "its companion file")


def read(root: Element, image: Element | None) -> dict[str, Any]:
    """Description of an image: the arguments of a `Picture`."""
    if image is None:
        return {"display": {}}
    pixels = image.find("Pixels")
    assert pixels is not None
    unit = unit_name(pixels.get("PhysicalSizeXUnit", "µm"))
    sizes: dict[str, float] = {}
    units: dict[str, str] = {}
    for axis, name in SIZES.items():
        size = finite(pixels.get(name))
        if size:
            sizes[axis] = size
            own = unit_name(pixels.get(f"{name}Unit", "s" if axis == "T" else "µm"))
            units |= {axis: own} if own != ("s" if axis == "T" else unit) else {}
    channels = tuple(_channel(each) for each in pixels.findall("Channel"))
    return {
        "pixel_size": sizes,
        "unit": unit if sizes else "",
        "units": units,
        "channels": channels if any(channel != Channel() for channel in channels) else (),
        "notes": image.findtext("Description") or "",
        "display": {"OME": _only(root, image)},
    }


def write(picture: Picture, values: Array, axes: str) -> bytes:
    """Document for a file with the planes of an array, in its order.

    Raises
    ------
    ValueError
        If OME lacks the type or the axes of the array.
    """
    if values.dtype.name not in _TYPES:
        raise ValueError(f"OME-TIFF holds no {values.dtype}")
    if not set(axes) <= set("TCZYXS") or len(set(axes)) < len(axes):
        raise ValueError(f"OME-TIFF has no axes {axes}")
    old = picture.display.get("OME")
    root = parse(_EMPTY) if old is None else copy.deepcopy(old)
    root.attrib.pop("UUID", None)
    root.set("xmlns", SCHEMA)
    root.set("Creator", "napari-dip")
    image, pixels = root.find("Image"), root.find("Image/Pixels")
    assert image is not None
    assert pixels is not None
    if picture.enlarged:  # regions of interest are in pixels
        root[:] = [each for each in root if each.tag != "ROI"]
        image[:] = [each for each in image if each.tag != "ROIRef"]
    _describe(image, picture.text())
    shape = dict(zip(axes, values.shape, strict=True))
    samples = shape.get("S", 1)
    before = {axis: pixels.get(f"Size{axis}") for axis in "CZT"}
    order = "XY" + "".join(axis for axis in reversed(axes) if axis in "ZCT")
    was = pixels.get("DimensionOrder", "XYCZT")
    if [axis for axis in was if axis in order] != list(order):
        was = order + "".join(axis for axis in "ZCT" if axis not in order)
    for name in ("BigEndian", "Interleaved", "SignificantBits"):
        pixels.attrib.pop(name, None)
    pixels.set("DimensionOrder", was)
    pixels.set("Type", _TYPES[values.dtype.name])
    counts = {axis: shape.get(axis, 1) for axis in "XYZCT"}
    counts["C"] *= samples
    for axis, count in counts.items():
        pixels.set(f"Size{axis}", str(count))
    for axis, name in SIZES.items():
        if axis in picture.pixel_size:
            pixels.set(name, repr(float(picture.pixel_size[axis])))
            pixels.set(f"{name}Unit", _unit(picture.unit_of(axis)))
    planes = [each for each in pixels.findall("Plane") if before == {axis: str(counts[axis]) for axis in "CZT"}]
    channels = pixels.findall("Channel")
    if len(channels) != shape.get("C", 1):
        channels = [Element("Channel", ID=f"Channel:0:{i}") for i in range(shape.get("C", 1))]
    for i, channel in enumerate(channels):
        channel.set("SamplesPerPixel", str(samples))
        if old is None and i < len(picture.channels):
            channel.attrib.update(_attributes(picture.channels[i]))
    rest = [each for each in pixels if each.tag not in ("Channel", "BinData", "TiffData", "MetadataOnly", "Plane")]
    data = Element("TiffData", IFD="0", PlaneCount=str(math.prod(counts[axis] for axis in "ZCT") // samples))
    pixels[:] = [*channels, data, *planes, *rest]
    return bytes(ElementTree.tostring(root, encoding="us-ascii", xml_declaration=True))


def own(picture: Picture) -> list[str]:
    """Words for what only OME says of an image."""
    root = picture.display.get("OME")
    if root is None:
        return []
    return _of_planes(root) + [word for part, word in _PARTS.items() if root.find(part) is not None]


def outgrown(picture: Picture) -> list[str]:
    """Words for what is left out because it does not hold on a finer grid."""
    root = picture.display.get("OME")
    if root is None or not picture.enlarged:
        return []
    lost = _of_planes(root) if "Z" in picture.enlarged else []
    return lost + ["regions of interest"] * (root.find("ROI") is not None)


def _of_planes(root: Element) -> list[str]:
    names = {name for plane in root.iter("Plane") for name in plane.attrib}
    return [word for start, word in _PLANES.items() if any(name.startswith(start) for name in names)]


def _only(root: Element, image: Element) -> Element:
    """The document with this image alone."""
    root = copy.copy(root)  # with a list of its own for its elements
    several = len(root.findall("Image")) > 1
    left_out = _OF_SEVERAL if several else ()
    root[:] = [each for each in root if each is image or each.tag not in ("Image", *left_out)]
    return root


def _describe(image: Element, text: str) -> None:
    description = image.find("Description")
    if description is None:
        description = Element("Description")
        image.insert(sum(each.tag in _BEFORE_DESCRIPTION for each in image), description)
    description.text = text
    if not text:
        image.remove(description)


def _channel(element: Element) -> Channel:
    colour = element.get("Color")
    lengths: dict[str, float | None] = {}
    for name in ("Emission", "Excitation"):
        size = finite(element.get(f"{name}Wavelength"))
        unit = unit_name(element.get(f"{name}WavelengthUnit", "nm"))
        lengths[name.lower()] = converted(size, unit, "nm") if size and unit in LENGTHS else None
    try:
        colour = "" if colour is None else f"{int(colour) & 0xFFFFFFFF:08X}"[:6]  # red, green, blue, alpha
    except ValueError:
        colour = ""
    return Channel(
        name=element.get("Name", ""), colour=colour, emission=lengths["emission"], excitation=lengths["excitation"]
    )


def _attributes(channel: Channel) -> dict[str, str]:
    found = {"Name": channel.name} if channel.name else {}
    if channel.colour:
        found["Color"] = str(int.from_bytes(bytes.fromhex(f"{channel.colour}FF"), "big", signed=True))
    for name in ("Emission", "Excitation"):
        size = getattr(channel, name.lower())
        if size:
            found |= {f"{name}Wavelength": repr(float(size)), f"{name}WavelengthUnit": "nm"}
    return found


def _unit(unit: str) -> str:
    return {"inch": "in"}.get(unit, unit if unit in LENGTHS or unit in TIMES else "reference frame")
