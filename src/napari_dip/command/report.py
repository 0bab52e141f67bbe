"""Report of the command line on an image and its restoration, in plain sentences, and the files beside OUT."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from napari_dip.core.telling import one_line
from napari_dip.io.formats import SCREEN
from napari_dip.io.picture import Picture
from napari_dip.plan.inputs import Array
from napari_dip.tables.tasks import TASKS, removes_noise
from napari_dip.terminal import Bar

if TYPE_CHECKING:
    from napari_dip.core.judge.metrics import Comparison
    from napari_dip.core.noise.model import Noise
    from napari_dip.core.result import Result


def beside(target: str, name: str) -> Path:
    """The file beside OUT that shows something else of the result; TIFF where OUT could not hold signed fractions."""
    path = Path(target)
    stem, dot_ome = (path.stem[:-4], path.stem[-4:]) if path.stem.lower().endswith(".ome") else (path.stem, "")
    ending = ".tif" if path.suffix.lower() in SCREEN else dot_ome + path.suffix
    return path.with_name(f"{stem}-{name}{ending}")


def describe(noise: Noise) -> Iterator[str]:
    """The noise of an image: a sentence, and its figures one by one; those of the camera where noise is detected."""
    yield f"Noise: {noise}."
    if noise.detected:
        yield f"gain         {noise.gain:.4g} counts per photo-electron"
        yield f"offset       {noise.offset:.4g} counts in the dark"
        yield f"read noise   {noise.read_noise:.4g} counts, standard deviation in the dark"
    if noise.sigma > 0:
        most = "" if noise.detected else ", at most"
        yield f"sigma        {noise.sigma:.4g} counts, standard deviation over the whole image{most}"
        yield f"correlation  {noise.correlation:.2f} between neighbouring pixels"
    few = "fewer than 0.10%, which may be chance,"
    yield f"impulses     {f'{noise.impulses:.2%}' if noise.impulses else few} of the pixels hot or dead"


def account(result: Result) -> Iterator[str]:
    """Yield the findings and choices of a run, with their reasons, and its doubts about its own result."""
    if result.noise is not None and removes_noise(result.record):
        yield f"Noise: {result.noise}."
    yield from (f"{heading}: {sentence}." for heading, sentence in result.choices.items())
    if result.verdict is not None:
        yield f"Residual: {result.verdict.sentence}."
    yield from (f"Warning: {sentence}." for sentence in result.warnings)


def tell_control(result: Any, image: Array | None, bar: Bar, **how: Any) -> None:
    """Restore pure noise with the settings of a result, and print what was made of it; `how` as for the control."""
    from napari_dip import trust
    from napari_dip.core.pauses import without_pauses

    if how["should_stop"]():
        print("Noise-only control: left out, as the run was stopped.")
        return
    steps = trust.iterate_noise_control(result, image, **how)
    with bar:
        try:
            made = without_pauses(steps, lambda progress: bar.show(progress, "noise-only control"))
        except ValueError as error:  # the result is written; it alone counts
            print(f"Noise-only control: left out; {one_line(error)}.")
            return
        print(f"Noise-only control: {made.invention.sentence}.")


def compared(found: Comparison) -> str:
    """Figures of a comparison, in a sentence."""
    return f"{found}." + (" Is this the truth of this image?" if found.nrmse > 1 else "")


@dataclass(frozen=True, kw_only=True)
class Measures:
    """Measurements of an image before its restoration, and after it.

    Attributes
    ----------
    picture : Picture
        Image that is restored.
    axes : dict
        Its `channel_axis` and `leading_axes`.
    factors : dict
        Axis -> factor of a super-resolution, for the axes of space.
    task : str
        Task that it is restored by.
    missing : bool array
        True where a pixel of the picture is not known; without the axis of colours.
    truth : array or None
        To compare with, in the axes and the size of the result.
    affine : bool
        True if a gain and an offset are fitted before the comparison.
    resolution : bool
        True if the resolution is measured.
    """

    picture: Picture
    axes: dict[str, Any]
    factors: dict[str, int]
    task: str
    missing: Array
    truth: Array | None
    affine: bool
    resolution: bool

    def before(self) -> list[str]:
        """Sentences about the picture; holes and coarser pixels have nothing that could be compared with the truth.

        Raises
        ------
        ValueError
            If the picture cannot be measured, or the truth is of another size than the result.
        """
        values, said = self.picture.values, []
        wanted = [n * self.factors.get(axis, 1) for axis, n in zip(self.picture.axes, values.shape, strict=True)]
        if self.truth is not None and list(self.truth.shape) != wanted:
            raise ValueError(f"--truth has the shape {self.truth.shape}, but the result will have {tuple(wanted)}")
        if self.truth is not None and "truth" in self._before:
            said += [f"Before: {self._compared(values)}"]
        if self.resolution and "resolution" in self._before:
            try:
                said += [f"Before: {self._resolved(self._filled(), {})}."]
            except ValueError as error:
                raise ValueError(f"--resolution: {error}") from error
        return said

    def after(self, image: Array) -> list[str]:
        """Sentences about the restored image."""
        said = [] if self.truth is None else [f"After: {self._compared(image)}"]
        if self.resolution:
            from napari_dip.core.judge.frc import RESTORED

            try:
                said += [f"After: {self._resolved(image, self.factors)}. {RESTORED}"]
            except ValueError as error:  # the result is written; it alone counts
                said += [f"After: no resolution; {error}."]
        return said

    def _compared(self, image: Array) -> str:
        from napari_dip import trust

        assert self.truth is not None
        left_out = ~np.isfinite(self.truth)
        if "truth" in self._before:
            left_out = left_out | self._unknown
        return compared(trust.compare(image, self.truth, affine=self.affine, mask=left_out, **self.axes))

    def _resolved(self, image: Array, factors: dict[str, int]) -> str:
        from napari_dip import trust

        axes = dict(self.axes)
        if self._flat:
            axes["leading_axes"] += 1
        space = self.picture.slice_axes[axes["leading_axes"] :]
        in_one = self.picture.sizes_in(self.picture.unit, space)
        known = len(in_one) == len(space) and self.picture.unit
        sizes = [in_one[axis] if known else 1.0 for axis in space]
        pixel_size = tuple(size / factors.get(axis, 1) for axis, size in zip(space, sizes, strict=True))
        detail = trust.resolution(image, pixel_size=pixel_size, **axes).detail(
            self.picture.unit if known else "pixels of IN"
        )
        planes = ", plane by plane: a volume takes 32 of them" if self._flat else ""
        return f"{detail} (Fourier correlation at 1/7{planes})"

    @property
    def _before(self) -> tuple[str, ...]:
        """Measures of the picture that those of the result can be compared with."""
        return TASKS[self.task].before

    @property
    def _flat(self) -> bool:
        """True if a volume has too few planes (fewer than 32) for Fourier shells."""
        first = self.axes["leading_axes"]
        return self.picture.slice_axes[first:] == "ZYX" and self.picture.slice_shape[first] < 32

    def _filled(self) -> Array:
        """The picture with something even where pixels are missing."""
        missing = self._unknown
        known = self.picture.values[~missing]
        return np.where(missing, np.median(known), self.picture.values) if missing.any() else self.picture.values

    @property
    def _unknown(self) -> Array:
        """True where a value of the picture is missing, or no number; in its shape."""
        missing = self.missing if "S" not in self.picture.axes else self.missing[..., None]
        return np.asarray(missing | ~np.isfinite(self.picture.values))
