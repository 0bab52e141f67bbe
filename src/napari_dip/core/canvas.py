"""Images that come of several fits: runs are piled up to their mean and spread, tiles blended without seams."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from napari_dip.core.around import Tiles
from napari_dip.core.averaging import RunningAverage
from napari_dip.core.memory import if_memory_allows
from napari_dip.core.operators import Place, seen_by
from napari_dip.core.problem import Problem
from napari_dip.core.result import Progress
from napari_dip.core.state import SAVING, Event, Image, Outcome
from napari_dip.core.tiling import Blend


class Pile:
    """Runs of one tile: their mean, and the standard deviation between and within them."""

    def __init__(self, problem: Problem, *, uncertainty: bool) -> None:
        self.count = 0
        self._problem = problem
        self._image, self._last = RunningAverage(1, spread=uncertainty), RunningAverage(1)
        self._within: Image | None = None  # sum of the variances
        self._only: Outcome | None = None  # while there is one

    def add(self, run: Outcome) -> None:
        """Add a run."""
        self.count += 1
        if self.count == 1:
            self._only = run
            return
        for each in (self._only, run) if self._only is not None else (run,):
            self._image.add(torch.from_numpy(each.image))
            self._last.add(torch.from_numpy(each.last))
            if each.spread is not None:
                self._within = np.square(each.spread) + (0 if self._within is None else self._within)
        self._only = None

    def with_run(self, progress: Progress) -> Image:
        """Mean with the current run, which counts by the share of its iterations."""
        if not self.count:
            return progress.image
        share = progress.iteration / progress.iterations if progress.iterations and progress.ready == 1 else 0
        return np.asarray((self.count * self._mean + share * progress.image) / (self.count + share))

    def images(self, events: list[Event]) -> dict[str, Any]:
        """Images of a result; without memory for the residual, which costs no image, it is NaN, as an event tells."""
        if self._only is not None:
            image, last, spread = self._only.image, self._only.last, self._only.spread
        else:
            assert self._last.mean is not None
            image, last, spread = self._mean, self._last.mean.numpy(), self._spread
        residual, failure = if_memory_allows(lambda: self._problem.residual(image))
        if failure:
            events.append(Event(0, SAVING, "memory ran out over the residual, which is not known"))
            residual = np.full_like(self._problem.observation, np.nan)
        return {"image": image, "last": last, "residual": residual, "uncertainty": spread}

    @property
    def _mean(self) -> Image:
        if self._only is not None:
            return self._only.image
        assert self._image.mean is not None
        return self._image.mean.numpy()

    @property
    def _spread(self) -> Image | None:
        """Variances between runs and within them add up, the former without bias."""
        if self._within is None or self._image.variance is None:
            return None
        between = self._image.variance.numpy() * self.count / max(self.count - 1, 1)
        return np.asarray(np.sqrt(between + self._within / self.count))


class Canvas:
    """Images that the tiles are blended into; where none lies and nothing is wanted, the image is as measured."""

    def __init__(self, problem: Problem, tiles: Tiles, *, uncertainty: bool) -> None:
        self._operator, channels = problem.operator, len(problem.observation)
        self._measured, self._wanted = problem.observation, problem.wanted
        fine = tiles.seen_by(problem.operator.image_shape)
        names = ("image", "last", *(["uncertainty"] if uncertainty else []))
        self._fine = {name: Blend(fine, channels) for name in names}
        self._residual = Blend(tiles, channels)

    def add(self, place: Place, images: dict[str, Any]) -> None:
        """Add what was fitted to a tile; NaN where its uncertainty is not known."""
        for name, blend in self._fine.items():
            blend.add(seen_by(self._operator, place), np.nan if images[name] is None else images[name])
        self._residual.add(place, images["residual"])

    def add_flat(self, place: Place, value: np.float32) -> None:
        """Add a tile of one value, which nothing was fitted to."""
        self.add(place, {"image": value, "last": value, "residual": 0, "uncertainty": 0})

    def with_tile(self, place: Place, image: Image) -> Image:
        """The image so far, with what is being fitted to one more tile."""
        return self._whole(self._fine["image"].onto(seen_by(self._operator, place), image))

    def images(self) -> dict[str, npt.NDArray[np.float32] | None]:
        """Images of a result."""
        fine = {name: blend.image() for name, blend in self._fine.items()}
        fine |= {name: self._whole(fine[name]) for name in ("image", "last")}
        return {"uncertainty": None, **fine, "residual": self._residual.image()}

    def _whole(self, image: Image) -> Image:
        """An image (C, *S) with what was measured where nothing was fitted, as nothing else is wanted there."""
        if self._wanted is None:
            return image
        return np.where(np.isnan(image) & ~self._wanted, self._measured, image)
