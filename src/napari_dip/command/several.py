"""Several images in one command: ``napari-dip denoise *.tif folder --output-folder out``.

Each is restored as if by a command of its own; one that fails costs none of the others. Images that have all their
files in the folder already are left as they are: the same command goes on where it was stopped.
"""

from __future__ import annotations

import sys
import warnings
from argparse import Namespace
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

from napari_dip.io import files
from napari_dip.io.formats import ENDINGS, READABLE
from napari_dip.io.ngff import is_zarr
from napari_dip.pictures import in_folder
from napari_dip.terminal import Stop

_WHOLE = ""


def jobs(sources: list[str], folder: str) -> list[tuple[str, str]]:
    """Images and the files that they are written to: of the same name, in another folder.

    Parameters
    ----------
    sources : list of str
        Image files, OME-Zarrs, patterns of file names, and folders, whose images are taken, but not those of folders in
        them.
    folder : str
        Where they are written to.

    Raises
    ------
    ValueError
        If a folder or a pattern holds no image, or two images would be written to one file.
    """
    found: dict[str, str] = {}  # target -> source
    for source in dict.fromkeys(each for word in sources for each in _images(word)):
        path = Path(source)
        name = path.name if path.suffix.lower() in (*ENDINGS, ".zarr") else f"{path.name}.tif"
        target = str(Path(folder) / name)
        if target in found:
            raise ValueError(f"{found[target]} and {source} would both be written to {target}; name them otherwise")
        found[target] = source
    return [(source, target) for target, source in found.items()]


def run(
    args: Namespace, one: Callable[[Namespace], int], written: Callable[[Namespace], list[Path]], stop: Stop
) -> int:
    """Run one command for each image, and return the worst of their exit statuses.

    `written` names the files that a command writes.
    """
    named = jobs(args.sources, args.output_folder)
    todo = [Namespace(**{**vars(args), "source": source, "target": target}) for source, target in named]
    found: dict[str, str | None] = {}
    if not args.estimate:
        if not args.overwrite:
            found = {job.target: _found(job, written(job)) for job in todo}
            todo = [job for job in todo if found[job.target] != _WHOLE]
            _tell(len(named) - len(todo), len(named), args.output_folder)
        Path(args.output_folder).mkdir(parents=True, exist_ok=True)
    statuses = []
    for number, job in enumerate(todo, start=1):
        if stop.asked():
            print(f"napari-dip: stopped; {len(todo) - number + 1} of {len(todo)} images are left", file=sys.stderr)
            return 1
        if not args.quiet:
            print(f"napari-dip: {job.source}, {number} of {len(todo)}", file=sys.stderr)
        if damage := found.get(job.target):
            print(f"napari-dip: error: {job.source}: {damage}", file=sys.stderr)
        statuses.append(1 if damage else one(job))
    failed = [job.source for job, status in zip(todo, statuses, strict=True) if status]
    if failed and len(todo) > 1:
        print(
            f"napari-dip: {len(failed)} of {len(todo)} images failed, as said above: {', '.join(failed)}",
            file=sys.stderr,
        )
    return max(statuses, default=0)


def _tell(done: int, count: int, folder: str) -> None:
    """Tell of images that are left as they are, so that a command that was stopped goes on when it is said again."""
    remedy = "--overwrite makes anew what is there, another --output-folder keeps both"
    said = f"{done} of {count} images are in {folder} already"
    if done == count:
        print(f"napari-dip: {said}, so nothing is left to do; {remedy}", file=sys.stderr)
    elif done:
        warnings.warn(f"{said} and stay as they are, by whatever settings; {remedy}", stacklevel=3)


def _found(job: Namespace, written: list[Path]) -> str | None:
    """Why an image with all its files cannot be read, as a copy that was cut off; empty if it is whole, None if none.

    An OME-Zarr goes on by itself, and an image is no result of itself.
    """
    there = all(file.is_file() for file in written)
    if not there or (Path(job.source).exists() and Path(job.target).samefile(job.source)):
        return None
    try:
        for file in filter(files.is_image, written):
            with warnings.catch_warnings(action="ignore"), suppress(MemoryError):
                files.read(file)
    except OSError as error:
        return f"{error}; to have it made anew remove {', '.join(map(str, written))}"
    return _WHOLE


def _images(word: str) -> Iterator[str]:
    """Images that a word of the command names."""
    path = Path(word)
    if path.is_dir() and not is_zarr(path):
        names = in_folder(path)
        if not names:
            raise ValueError(f"{word} is a folder without an image; its images end in {', '.join(READABLE)} or .zarr")
        if folders := [str(each) for each in sorted(path.iterdir()) if each.is_dir() and each not in names]:
            warnings.warn(f"folders in {word} are left out ({', '.join(folders)}): name them too", stacklevel=2)
        yield from map(str, names)
    elif not path.exists() and any(sign in path.name for sign in "*?["):  # of a shell that leaves patterns alone
        names = sorted(path.parent.glob(path.name))
        if not names:
            raise ValueError(f"{word} matches no file")
        yield from map(str, names)
    else:
        yield word
