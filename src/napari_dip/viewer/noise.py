"""The noise of what is in view, in a sentence, before anything is restored."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
from qtpy.QtCore import Signal

from napari_dip.viewer.account import ended
from napari_dip.viewer.background import Sentence
from napari_dip.viewer.layers import Source
from napari_dip.viewer.rows import tip

if TYPE_CHECKING:
    from napari_dip import Noise
    from napari_dip.tables.tasks import Task


@dataclass(frozen=True)
class NoiseInView:
    """Noise of what is in view, and what else a look at it found.

    Attributes
    ----------
    noise : Noise
    left_out : str
        Sentence on what it was estimated without; empty for nothing.
    level : float
        Mean of the known pixels that the noise is at.
    depth : float or None
        Of the holes, in pixels, where they are to be filled.
    tiles : dict of tuple of int to int, or None
        Shapes of the tiles around holes that a prior would fit, and how many there are.
    doubt : str
        Sentence on a mask that may be meant the other way round; else empty.
    """

    noise: Noise
    left_out: str
    level: float
    depth: float | None = None
    tiles: dict[tuple[int, ...], int] | None = None
    doubt: str = ""


class NoiseSentence(Sentence):
    """A line of text that says what the noise is, and keeps up with what is chosen.

    Parameters
    ----------
    task : Task
        One that neither removes noise nor raises it shows nothing of it.

    Attributes
    ----------
    estimated : Signal
        Carries the `Noise`, or None while it is not known, and the depth of the holes in pixels, or None.
    nothing : str
        Sentence on why a run would do nothing, with what to do; empty if it would, or while that is not known.
    doubt : str
        Sentence on a mask that marks nearly all of the image, and may be meant the other way round; empty elsewhere.
    level : float
        Mean of the known pixels that the noise is at.
    tiles : dict of tuple of int to int, or None
        Shapes of the tiles around holes that a prior would fit, and how many there are.
    """

    estimated = Signal(object, object)

    def __init__(self, task: Task) -> None:
        super().__init__("noise")
        self._told = task.removes_noise or task.adds_detail
        self.nothing = self.doubt = ""
        self.level = 0.0
        self.tiles: dict[tuple[int, ...], int] | None = None

    def look(
        self,
        key: Any,
        read: Callable[[], Source],
        camera: dict[str, float],
        holes: Callable[[], Source] | None = None,
        chosen: Callable[[], Source] | None = None,
    ) -> None:
        """Estimate the noise of what `read` reads, unless `key` and `camera` are those of the last time.

        `holes` reads what the depth of the holes is measured in, and `chosen` all that is to be restored, where that
        can be read at once.
        """
        key = (key, *camera.items())
        if key == self._key:
            return
        self._key = key
        self.nothing = self.doubt = ""
        self._say("Noise: being estimated...")
        self._background.ask(partial(_estimate, read, camera, holes, chosen))

    def forget(self) -> None:
        """There is nothing whose noise could be told."""
        if self._key is None:
            return
        self._key = None
        self.nothing = self.doubt = ""
        self._background.forget()
        self._say("")
        self.estimated.emit(None, None)

    def _on_answer(self, answer: NoiseInView | str | Exception) -> None:
        if not isinstance(answer, NoiseInView):  # what cannot be restored; Run says why
            self.nothing, self.tiles = answer if isinstance(answer, str) else "", None
            self._say("")
            self.estimated.emit(None, None)
            return
        noise, self.level, self.doubt, self.tiles = answer.noise, answer.level, answer.doubt, answer.tiles
        self._say(" ".join(map(ended, noise_in_words(noise))))
        figures = (
            f"Estimated from the slice in view, in the units of the image: gain {noise.gain:.4g} counts per electron, "
            f"offset {noise.offset:.4g}, read noise {noise.read_noise:.4g}, standard deviation over the image "
            f"{noise.sigma:.4g}, correlation of direct neighbours {noise.correlation:.2f}. If you know your camera "
            "better, say so under Camera."
        )
        more = [_impulses(noise), answer.left_out, *_doubts(noise)]
        self.setToolTip(tip(" ".join([figures, *map(ended, filter(None, more))])))
        self.estimated.emit(noise, answer.depth)

    def _say(self, text: str) -> None:
        self.setToolTip("")
        super()._say(text if self._told else "")


def noise_in_words(noise: Noise) -> list[str]:
    """Sentences on the noise for somebody at a microscope: the figures are in the tooltip."""
    if noise.hardly_any:
        return ["Noise: weak beside the structure; it may be fine detail"]
    # the share that does not come of photons
    read = min(noise.read_noise / noise.sigma, 1) ** 2 if noise.sigma > 0 else 1.0
    of_photons = "partly photon noise" if noise.gain > 0 else "alike in dark and bright"
    kind = "mostly photon noise" if read < 0.5 else of_photons
    shared = "each pixel on its own" if noise.independent else "neighbouring pixels share some of it"
    if noise.sigma <= 0:
        said = ["No noise found"]
    elif not noise.warning:
        said = [f"Noise: {kind}; {shared}"]
    else:  # what it shares may be structure: that it is a guess says more
        said = [f"Noise: {kind}"] if noise.gain > 0 else []
    if noise.impulses and not noise.warning:  # else they may be fine detail
        said.append(_impulses(noise))
    return [*said, *_doubts(noise)]


def _impulses(noise: Noise) -> str:
    return f"{100 * noise.impulses:.2g} % of the pixels are hot or dead" if noise.impulses else ""


def _doubts(noise: Noise) -> list[str]:
    return [each[0].upper() + each[1:] for each in (noise.warning, noise.caution) if each]


def _estimate(
    read: Callable[[], Source],
    camera: dict[str, float],
    holes: Callable[[], Source] | None,
    chosen: Callable[[], Source] | None,
) -> NoiseInView | str:
    """The noise of a source and its holes, or a sentence where nothing is to be restored."""
    from napari_dip.plan.holes import depth_of, nearly_all, tiles_with_holes
    from napari_dip.plan.request import read_request
    from napari_dip.tables.settings import DEFAULTS
    from napari_dip.trust import estimate_noise, left_out  # imports torch: seconds

    source, filling = read(), holes is not None
    if chosen is not None and nothing_in(source, filling) and (nothing := nothing_in(chosen(), filling)):
        return nothing
    arguments = source.arguments
    found = NoiseInView(estimate_noise(**arguments, **camera), left_out(**arguments), level_of(source))
    if holes is None:
        return found
    request = read_request("inpaint", **holes().arguments)
    if not request.slices.holes.any():
        where = "choose what marks it under Missing pixels, or paint on it"
        return f"Nothing is missing in '{source.name}', and no pixel is NaN: {where}."
    nearly = nearly_all(request)
    inverted = f"{nearly}: if the mask shows what is known, take its other side." if nearly else ""
    return replace(found, depth=depth_of(request), tiles=tiles_with_holes(request.slices, DEFAULTS), doubt=inverted)


def nothing_in(source: Source, filling: bool) -> str:
    """Sentence on why nothing comes of a run on a source; empty if something does, as of `filling` holes."""
    values = source.image[known_in(source)]
    if not values.size:
        no_pixel = f"There is no known pixel in '{source.name}': all are NaN, infinite or masked."
        return f"{no_pixel} Choose another image or mask."
    if filling or (values != values[0]).any():
        return ""
    return f"All pixels of '{source.name}' are {values[0]:.6g}: there is nothing to restore. Choose another image."


def level_of(source: Source) -> float:
    """Mean of the known pixels, of which there are some."""
    return float(source.image[known_in(source)].mean(dtype=np.float64))


def known_in(source: Source) -> np.ndarray:
    """True for the values of a source that are known."""
    known = np.isfinite(source.image)
    if source.missing is not None:
        known &= ~(source.missing[..., None] if source.rgb else source.missing)
    return known
