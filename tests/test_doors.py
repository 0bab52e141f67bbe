"""An error names the keyword in Python, the option on the command line, and the row in the window."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

import napari_dip
from napari_dip.doors import Door, asked_from
from napari_dip.io import files
from napari_dip.plan.inputs import inverted
from tests.core.tiny import noisy

ROOMS = ("plan", "run", "core", "io", "tables", "trust", "lab")
FOR_THE_COMMAND_LINE = {"command", "flag", "help"}  # keywords


@pytest.mark.parametrize(
    ("door", "mask", "invert"),
    [
        ("python", "(mask=...)", "(mask == 0)"),
        ("command", "(--mask FILE)", "(add --mask-is-known, or leave that out)"),
        ("window", "(a layer under Missing pixels)", "(mark all others)"),
    ],
)
def test_a_remedy_is_in_the_words_of_whoever_asked(door: Door, mask: str, invert: str, tmp_path: Path) -> None:
    image = noisy(16, 16)
    with asked_from(door):
        with pytest.raises(ValueError, match="no hole to fill") as told:
            napari_dip.inpaint(image)
        assert str(told.value).endswith(mask)
        with pytest.raises(ValueError, match="no hole to fill") as told:
            napari_dip.restore_blocks("inpaint", np.uint8(image > 0), tmp_path / "out.zarr")
        assert str(told.value).endswith(mask)
        with pytest.raises(ValueError, match="every pixel that has a value") as told:
            napari_dip.inpaint(image, np.ones(image.shape, bool))
        assert str(told.value).endswith(invert)
    assert inverted().endswith("(mask == 0)")


@pytest.mark.parametrize(
    ("door", "overwrite", "keep_bad"),
    [
        ("python", "or overwrite it (overwrite=True)", "(skip_bad_pixels=False counts them as measured)"),
        ("command", "or overwrite it (--overwrite)", "(--no-skip-bad-pixels counts them as measured)"),
        ("window", "or delete it first", "(Skip bad pixels off counts them as measured)"),
    ],
)
def test_clauses_are_those_of_one_door(door: Door, overwrite: str, keep_bad: str, tmp_path: Path) -> None:
    there = tmp_path / "there.tif"
    there.touch()
    image = 100 + 10 * noisy(64, 64)
    image[20, 20] = 1e4
    with asked_from(door):
        with pytest.raises(FileExistsError) as told:
            files.check(there)
        assert str(told.value).endswith(f"name another file, {overwrite}")
        result = napari_dip.denoise(
            image, iterations=2, preset="denoise-small", device="cpu", threads=1, progress=False
        )
        assert any(keep_bad in each for each in result.warnings)


def test_options_are_named_to_those_alone_who_are_at_the_command_line() -> None:
    package, named = Path(napari_dip.__file__).parent, list[str]()
    for path in (path for room in ROOMS for path in sorted((package / room).rglob("*.py"))):
        tree = ast.parse(path.read_text("utf-8"))
        passed = {id(part) for node in ast.walk(tree) for part in _passed_over(node)}
        for node in ast.walk(tree):
            text = node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else ""
            if id(node) not in passed and re.search(r"--[a-z]", text) and not re.fullmatch(r"--[a-z-]+", text):
                named.append(f"{path.relative_to(package)}:{node.lineno}: {text}")
    assert not named


def _passed_over(node: ast.AST) -> list[ast.AST]:
    """Texts that no user of Python or of the window reads: docstrings, and what is for the command line."""
    if isinstance(node, ast.Expr):
        return [node.value]
    if isinstance(node, ast.keyword) and node.arg in FOR_THE_COMMAND_LINE:
        return list(ast.walk(node.value))
    return []


@pytest.mark.parametrize("argument", ["image", "mask", "psf", "guide"])
def test_the_name_of_a_file_is_refused_with_the_way_to_read_it(argument: str, tmp_path: Path) -> None:
    image, path = noisy(16, 16), tmp_path / "cells.tif"
    tifffile.imwrite(path, image)
    given: dict[str, Any] = {"image": image, argument: path}
    task = napari_dip.deconvolve if argument == "psf" else napari_dip.denoise
    given |= {"code": "guide", "preset": "denoise-small"} if argument == "guide" else {}
    with pytest.raises(TypeError, match=f"^{argument}='.*cells.tif' names a file where its pixels are needed") as told:
        task(**given, iterations=2, progress=False)
    way = str(told.value).partition("read it first, by ")[2]
    assert np.array_equal(eval(way, {"napari_dip": napari_dip}), image)
