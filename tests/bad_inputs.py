"""One table of what users hand in by mistake, and one of what is odd but valid: plain data and factories, no tests.

The tests of the API, the command line and the widget walk these tables with `bad` and `odd`, each taking the cases
that can occur there. A case is called as ``iterate(case.task, case.image(), case.mask(), **case.options)``; a bad one
must raise `error` (or its message must reach the user) with every one of `words` in it, before the first iteration.
An odd one must run, with a warning that contains `warning` if that is not empty, and give a finite image.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

#: Knobs that make any run of these tables quick.
QUICK: dict[str, Any] = {"iterations": 3, "runs": 1, "channels": 4, "scales": 2, "code_channels": 4, "device": "cpu"}
QUICK["refine"] = 0  # similar patches would take most of the time


def plain() -> np.ndarray:
    """A valid image: 9 x 12 pixels, float64, all different."""
    return np.random.default_rng(0).permutation(108).reshape(9, 12).astype(float)


def dot() -> np.ndarray:
    """A valid mask for it: two pixels are missing."""
    mask = np.zeros((9, 12), bool)
    mask[4, 5:7] = True
    return mask


def nothing() -> None:
    """No mask."""
    return None


def with_pixel(value: float) -> Callable[[], np.ndarray]:
    """A factory of valid images but for one pixel."""

    def make() -> np.ndarray:
        image = plain()
        image[2, 3] = value
        return image

    return make


def read_only() -> np.ndarray:
    image = plain()
    image.flags.writeable = False
    return image


@dataclass(frozen=True, kw_only=True)
class Case:
    """One call: what goes in, what must come out, and where it can occur ("api", "cli" and "widget")."""

    name: str
    where: tuple[str, ...] = ("api", "cli", "widget")
    task: str = "denoise"
    image: Callable[[], Any] = plain
    mask: Callable[[], Any] = nothing
    options: dict[str, Any] = field(default_factory=dict)
    error: type[Exception] = ValueError
    words: tuple[str, ...] = ()
    cli_words: tuple[str, ...] = ()  # where the command line says it in words of its own
    warning: str = ""

    def __str__(self) -> str:
        return self.name


def bad(where: str) -> list[Case]:
    """The bad cases that can occur in the "api", the "cli" or the "widget"."""
    return [case for case in BAD if where in case.where]


def odd(where: str) -> list[Case]:
    """The odd but valid cases that can occur there."""
    return [case for case in ODD if where in case.where]


API, CLI = ("api",), ("api", "cli")

BAD = [
    # images
    Case(
        name="empty image",
        where=CLI,
        image=lambda: np.zeros((0, 5)),
        cli_words=("empty",),
        words=("image", "empty", "(0, 5)"),
    ),
    Case(
        name="scalar",
        where=CLI,
        image=lambda: np.array(3.0),
        cli_words=("two axes",),
        words=("image", "spatial axes"),
    ),
    Case(name="no image", where=API, image=nothing, error=TypeError, words=("image", "numbers")),
    Case(
        name="1-D",
        where=CLI,
        image=lambda: np.arange(9.0),
        cli_words=("two axes", "(9,)"),
        words=("image", "(9,)", "1 spatial axes"),
    ),
    Case(name="5-D", where=API, image=lambda: np.ones((2, 2, 2, 8, 8)), words=("5 spatial axes", "leading_axes")),
    Case(name="all NaN", image=lambda: np.full((8, 8), np.nan), words=("image", "no finite pixel")),
    Case(name="all infinite", image=lambda: np.full((8, 8), -np.inf), words=("image", "no finite pixel")),
    Case(name="complex", where=CLI, image=lambda: plain() * 1j, error=TypeError, words=("image", "complex", "np.abs")),
    Case(name="boolean", where=CLI, image=lambda: plain() > 50, error=TypeError, words=("image", "bool", "astype")),
    Case(name="text", where=API, image=lambda: plain().astype(str), error=TypeError, words=("image", "numbers")),
    Case(name="objects", where=API, image=lambda: plain().astype(object), error=TypeError, words=("image", "object")),
    Case(
        name="dates", where=API, image=lambda: plain().astype("M8[s]"), error=TypeError, words=("image", "datetime64")
    ),
    Case(name="times", where=API, image=lambda: plain().astype("m8[s]"), error=TypeError, words=("image", "timedelta")),
    Case(name="a file name", where=API, image=lambda: "image.tif", error=TypeError, words=("image", "pictures.read")),
    Case(name="ragged", where=API, image=lambda: [[1, 2], [3]], words=("image",)),
    # axes
    Case(
        name="colour without channel_axis",
        where=API,
        image=lambda: np.random.default_rng(0).random((8, 9, 3)),
        words=("colour", "channel_axis=-1"),
    ),
    Case(
        name="more channels than pixels",
        where=API,
        image=lambda: np.random.default_rng(0).random((40, 5, 4)),
        options={"channel_axis": 0},
        words=("more channels than pixels", "40 channels", "20 pixels"),
    ),
    Case(name="channel_axis beyond", where=API, options={"channel_axis": 2}, words=("channel_axis=2", "(9, 12)")),
    Case(name="negative leading_axes", where=API, options={"leading_axes": -1}, words=("leading_axes=-1",)),
    Case(name="half an axis", where=API, options={"leading_axes": 0.5}, words=("leading_axes=0.5", "whole number")),
    Case(name="too many leading_axes", where=API, options={"leading_axes": 1}, words=("1 spatial axes",)),
    # masks
    Case(
        name="mask of another shape",
        where=CLI,
        mask=lambda: np.zeros((8, 12), bool),
        cli_words=("mask.npy", "Y 8"),
        words=("mask", "(8, 12)", "(9, 12)"),
    ),
    Case(name="mask that hides everything", mask=lambda: np.ones((9, 12), bool), words=("mask", "every pixel")),
    Case(
        name="mask that leaves what is not finite",
        image=lambda: np.where(dot(), np.nan, plain()),
        mask=lambda: ~dot(),
        words=("mask", "every pixel"),
    ),
    Case(name="nothing to fill", task="inpaint", mask=lambda: np.zeros((9, 12), bool), words=("mask", "no hole")),
    Case(name="no mask to fill", where=CLI, task="inpaint", words=("mask", "no hole")),
    Case(
        name="mask of floats",
        where=API,
        mask=lambda: dot().astype(float),
        error=TypeError,
        words=("mask", "float64", "mask > 0"),
    ),
    Case(name="mask of words", where=API, mask=lambda: dot().astype(str), error=TypeError, words=("mask", "boolean")),
    # factors
    Case(name="factor 0", where=CLI, task="superresolve", options={"factor": 0}, words=("factor=0", "at least")),
    Case(name="factor -2", where=CLI, task="superresolve", options={"factor": -2}, words=("factor=-2", "at least")),
    Case(
        name="factor 2.5",
        where=CLI,
        task="superresolve",
        options={"factor": 2.5},
        error=TypeError,
        words=("factor=2.5", "whole"),
        cli_words=("--factor", "2.5", "4,2"),
    ),
    Case(name="factor 1", where=CLI, task="superresolve", options={"factor": 1}, words=("factor=1", "at least 2")),
    Case(
        name="factor true", where=API, task="superresolve", options={"factor": True}, error=TypeError, words=("factor",)
    ),
    Case(
        name="three factors",
        where=CLI,
        task="superresolve",
        options={"factor": (2, 2, 2)},
        words=("factor", "2 spatial"),
    ),
    Case(name="no factor", where=API, task="superresolve", words=("factor", "needed")),
    Case(name="factor for another task", where=API, options={"factor": 2}, words=("factor=2", "superresolve")),
    Case(
        name="unknown kernel",
        where=CLI,
        task="superresolve",
        options={"factor": 2, "kernel": "lanczos"},
        words=("kernel", "lanczos2"),
    ),
    # point spread functions and voxels
    Case(name="no psf", where=API, task="deconvolve", words=("psf is needed", "psf=1.5")),
    Case(name="psf for another task", where=API, options={"psf": 1.5}, words=("psf", "deconvolve")),
    Case(
        name="psf of other axes",
        where=API,
        task="deconvolve",
        options={"psf": np.ones((3, 3, 3))},
        words=("2 spatial",),
    ),
    Case(
        name="three sigmas",
        where=API,
        task="deconvolve",
        options={"psf": (3, 1, 1)},
        words=("psf", "3 standard deviations for 2 axes of space"),
    ),
    Case(name="psf 0", where=API, task="deconvolve", options={"psf": 0}, words=("psf", "not all 0")),
    Case(
        name="unknown psf_centre",
        where=API,
        task="deconvolve",
        options={"psf": 1.5, "psf_centre": "peak"},
        words=("psf_centre='peak'", "maximum"),
    ),
    Case(name="voxel size 0", where=API, options={"voxel_size": (0, 1)}, words=("voxel_size", "above 0")),
    Case(name="three voxel sizes", where=API, options={"voxel_size": (1, 1, 1)}, words=("voxel_size", "2 spatial")),
    # knobs
    Case(name="negative iterations", where=CLI, options={"iterations": -5}, words=("iterations=-5", "from 1")),
    Case(
        name="half an iteration",
        where=CLI,
        options={"iterations": 2.5},
        error=TypeError,
        words=("iterations=2.5", "whole"),
        cli_words=("--iterations", "2.5"),
    ),
    Case(name="learning rate NaN", where=CLI, options={"learning_rate": float("nan")}, words=("learning_rate=nan",)),
    Case(name="unknown GPU", where=CLI, options={"device": "cuda:99"}, words=("device='cuda:99'", "not there", "auto")),
    Case(name="unknown device", where=CLI, options={"device": "gpu"}, words=("device='gpu'", "cuda:1", "cpu")),
    Case(
        name="misspelt knob",
        where=API,
        options={"iteratons": 5},
        error=TypeError,
        words=("'iteratons'", "did you mean 'iterations'"),
    ),
    Case(
        name="misspelt option",
        where=API,
        options={"chanel_axis": -1},
        error=TypeError,
        words=("'chanel_axis'", "did you mean 'channel_axis'"),
    ),
    Case(name="unknown preset", where=CLI, options={"preset": "best"}, words=("preset='best'", "denoise-small")),
    Case(
        name="settings as a dict",
        where=API,
        options={"settings": {"iterations": 5}},
        error=TypeError,
        words=("settings={'iterations': 5}", "must be Settings"),
    ),
    Case(
        name="three channels for five scales",
        options={"channels": (8, 16, 32), "scales": 5},
        words=("channels=(8, 16, 32)", "3 values", "scales=5"),
    ),
    Case(name="even filter", options={"filter_size": 4}, words=("filter_size=4", "odd")),
    Case(name="guide missing", options={"code": "guide"}, words=("guide=",), cli_words=("--guide FILE",)),
    Case(name="guide not asked for", where=API, options={"guide": plain()}, words=("guide", "code='guide'")),
    Case(
        name="guide of another shape",
        where=API,
        options={"code": "guide", "guide": plain()[1:]},
        words=("guide", "(8, 12)", "(9, 12)"),
    ),
    Case(
        name="flat guide",
        where=API,
        options={"code": "guide", "guide": np.ones((9, 12))},
        words=("guide", "no two different"),
    ),
    # intensities, tasks
    Case(name="range upside down", where=API, options={"intensity_range": (5, 1)}, words=("intensity_range=(5, 1)",)),
    Case(name="endless range", where=API, options={"intensity_range": (0, np.inf)}, words=("intensity_range=",)),
    Case(
        name="range of three", where=API, options={"intensity_range": (0, 1, 2)}, words=("intensity_range=(0, 1, 2)",)
    ),
    Case(
        name="a file to resume", where=API, options={"resume": "out.tif"}, error=TypeError, words=("resume", "Result")
    ),
    # the pace
    Case(name="time runs backwards", where=API, options={"interval": -1}, words=("interval=-1", "seconds")),
    Case(name="endless wait", where=API, options={"interval": np.nan}, words=("interval=nan", "seconds")),
    Case(name="a word for a while", where=API, options={"interval": "1 s"}, words=("interval='1 s'", "seconds")),
    Case(name="snapshots backwards", where=API, options={"snapshot_every": -1}, words=("snapshot_every=-1", "whole")),
    Case(name="half a step", where=API, options={"snapshot_every": 2.5}, words=("snapshot_every=2.5", "whole")),
    Case(name="unknown task", where=API, task="sharpen", words=("task='sharpen'", "denoise")),
]

ODD = [
    Case(name="one value", image=lambda: np.full((9, 12), 7.0), warning="one value"),
    Case(name="one pixel", image=lambda: np.array([[5]]), warning="one value"),
    Case(name="one known pixel", mask=lambda: plain() != 3, warning="one value"),
    Case(name="one known value", task="inpaint", image=lambda: np.where(dot(), np.nan, 7.0), warning="one value"),
    Case(name="a NaN", image=with_pixel(np.nan)),
    Case(name="an infinite pixel", image=with_pixel(np.inf)),
    Case(name="a minus infinite pixel", where=CLI, image=with_pixel(-np.inf)),
    Case(name="a NaN to fill", task="inpaint", image=with_pixel(np.nan)),
    Case(name="a NaN to enlarge", where=CLI, task="superresolve", image=with_pixel(np.nan), options={"factor": 2}),
    Case(
        name="an absurd pixel under the mask",
        where=CLI,
        image=with_pixel(-1e300),
        mask=lambda: plain() == plain()[2, 3],
    ),
    Case(name="one row", image=lambda: plain().reshape(1, -1)),
    Case(name="one column", where=CLI, image=lambda: plain().reshape(-1, 1)),
    Case(name="two by two", image=lambda: plain()[:2, :2]),
    Case(name="thin volume", image=lambda: plain().reshape(1, 9, 12)),
    Case(name="negative", where=CLI, image=lambda: -plain()),
    Case(name="far from zero", image=lambda: plain() + 1e9),
    Case(name="tiny", image=lambda: plain() * 1e-30),
    Case(name="int8", where=CLI, image=lambda: (plain() - 64).astype(np.int8)),
    Case(name="int64", image=lambda: plain().astype(np.int64) - 2**60),
    Case(name="uint64", image=lambda: plain().astype(np.uint64) * 2**56 + 2**63),
    Case(name="float16", image=lambda: plain().astype(np.float16)),
    Case(name="long double", where=API, image=lambda: plain().astype(np.longdouble)),
    Case(name="big-endian integers", image=lambda: plain().astype(">u2")),
    Case(name="big-endian floats", where=CLI, image=lambda: plain().astype(">f8")),
    Case(name="Fortran order", where=CLI, image=lambda: np.asfortranarray(plain())),
    Case(name="negative strides", where=CLI, image=lambda: plain()[::-1, ::-1]),
    Case(name="every other pixel", where=CLI, image=lambda: plain()[::2, ::2]),
    Case(name="read-only", image=read_only),
    Case(name="a list", where=API, image=lambda: plain().tolist()),
    Case(name="a mask of labels", mask=lambda: dot().astype(np.int32) * 7),
    Case(name="a mask that hides nothing", where=CLI, mask=lambda: np.zeros((9, 12), bool)),
    Case(
        name="a gray image with a channel axis",
        where=API,
        image=lambda: plain()[..., None],
        options={"channel_axis": -1},
    ),
]
