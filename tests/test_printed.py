"""All that README, docs and the notes of the project print to be copied: it runs as it is printed.

Each code block and each command runs alone, in a folder with tiny files under the names that are used. Fits are made
short behind the front door (`tests.short`), so that not a letter of what is printed need be changed. What cannot run
here is named in `ELSEWHERE`, with the reason; of that the grammar is checked.
"""

from __future__ import annotations

import ast
import re
import shlex
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import zarr
from skimage import io
from torch import nn

import napari_dip
from benchmarks import __main__ as benchmarks
from napari_dip import trust
from napari_dip.command import cli, options
from napari_dip.io import files
from napari_dip.io.picture import Picture
from napari_dip.tables.settings import PRESETS
from napari_dip.tables.tasks import TASKS
from tests.core.tiny import noisy
from tests.short import make_fits_short

ROOT = Path(__file__).parent.parent
HOME = "https://github.com/napari-dip/napari-dip"
PAGES = ["README.md", "CONTRIBUTING.md", "benchmarks/NOTES.md", *(f"docs/{p.name}" for p in ROOT.glob("docs/*.md"))]

#: Pages of words and tables, with nothing to be copied.
PROSE = {f"docs/{name}.md" for name in ("index", "how-it-works", "choosing", "knobs", "presets", "citing", "compared")}

#: A word of what is printed, and why it does not run in a test.
ELSEWHERE = {
    "pip install": "installs",
    "apt-get ": "installs",
    "make ": "installs, and runs these tests",
    "helm ": "needs Kubernetes",
    "KubeCluster": "needs Kubernetes",
    "SLURMCluster": "needs SLURM",
    "tcp://": "needs a scheduler of Dask on another machine",
    "dask scheduler": "does not end",
    "-m pytest": "runs these tests",
    "restore_layer(viewer": "needs a window: tests/viewer",
    "lab.preimage(": "fits four times: tests/lab/test_preimage.py",
    "scripts/train_textures.py": "trains for a minute",
    "lab.impedance(": "fits twenty times: tests/lab/test_lab.py",
    "lab.ablation(": "fits often: tests/lab/test_lab.py",
    "napari-dip lab ": "fits often: tests/lab/test_lab.py",
}

pytestmark = pytest.mark.skipif(not (ROOT / "README.md").exists(), reason="needs a checkout")


@dataclass(frozen=True)
class Printed:
    """A code block, a command or a call, and where it stands."""

    page: str
    line: int
    kind: str
    text: str

    @property
    def elsewhere(self) -> bool:
        return any(word in self.text for word in ELSEWHERE)

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def printed(page: str) -> Iterator[Printed]:
    """All of a page: fenced and indented blocks, and what is a command or a call within a sentence."""
    text = (ROOT / page).read_text(encoding="utf-8")

    def line(match: re.Match[str]) -> int:
        return text.count("\n", 0, match.start()) + 1

    fenced = r"^```([^\n`]*)\n(.*?)^```"
    for match in re.finditer(fenced, text, re.MULTILINE | re.DOTALL):
        yield Printed(page, line(match), match[1], match[2])
    text = re.sub(fenced, lambda match: "\n" * match[0].count("\n"), text, flags=re.MULTILINE | re.DOTALL)
    for match in re.finditer(r"(?<=\n\n)((?: {4}.*\n)+)", text):
        for offset, command in enumerate(match[1].splitlines()):
            yield Printed(page, line(match) + offset, "command", command.strip())
    text = re.sub(r"(?<=\n\n)((?: {4}.*\n)+)", lambda match: "\n" * match[0].count("\n"), text)
    for match in re.finditer(r"`([^`]+)`", text):
        inline = " ".join(match[1].split())
        if re.match(r"(napari-dip|python|pip|make|dask|helm|napari) \S|[A-Z_]+=\S+ \S", inline):
            yield Printed(page, line(match), "command", inline)
        elif re.match(rf"(for .* in )?(napari_dip\.|trust\.|({'|'.join(TASKS)})\()", inline) and "(" in inline:
            yield Printed(page, line(match), "call", inline)


EVERYTHING = [each for page in PAGES for each in printed(page)] if (ROOT / "README.md").exists() else []


def of_kind(*kinds: str, elsewhere: bool = False) -> Any:
    found = [each for each in EVERYTHING if each.kind in kinds and each.elsewhere == elsewhere]
    return pytest.mark.parametrize("it", found, ids=str)


def ome_zarr(path: Path, values: np.ndarray) -> None:
    """An OME-Zarr image of the axes t, c, z, y, x."""
    scale = [{"type": "scale", "scale": [1.0, 1.0, 2.0, 0.5, 0.5]}]
    axes = [{"name": "t", "type": "time"}, {"name": "c", "type": "channel"}]
    axes += [{"name": name, "type": "space", "unit": "micrometer"} for name in "zyx"]
    image = {"axes": axes, "datasets": [{"path": "0", "coordinateTransformations": scale}]}
    group = zarr.create_group(path, attributes={"ome": {"version": "0.5", "multiscales": [image]}})
    group.create_array("0", data=values, chunks=(1, 1, *values.shape[2:]), dimension_names=list("tczyx"))


def write(name: str, values: np.ndarray, axes: str = "YX") -> None:
    files.write(name, values, Picture(values=values, axes=axes))


@pytest.fixture
def scratch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with tiny files under the names that are used."""
    monkeypatch.chdir(tmp_path)
    cells = np.uint16(100 + 200 * noisy(36, 40))
    hole = np.zeros((36, 40), np.uint8)
    hole[8:11, 9:13] = 255
    for name, values in {"cells.tif": cells, "in.tif": cells, "truth.tif": cells, "holes.tif": hole}.items():
        write(name, values)
    write("stack.tif", np.uint16(100 + 200 * noisy(6, 18, 20)), "ZYX")
    write("bead.tif", np.float32(np.exp(-((np.indices((5, 5, 5)) - 2.0) ** 2)).prod(0)), "ZYX")
    earlier = {"settings": PRESETS["denoise-small"].as_dict()}
    files.put("earlier.tif", Picture(values=cells, axes="YX", record=earlier))
    for name in ("in.zarr", "truth.zarr"):
        ome_zarr(tmp_path / name, 100 + 200 * noisy(1, 1, 2, 18, 20))
    zarr.create_array(tmp_path / "film.zarr", data=100 + 200 * noisy(2, 18, 20))
    (tmp_path / "mine.py").write_text(
        "def means(plane, sigma):\n    return plane * (1 - sigma) + plane.mean() * sigma\n\n\n"
        "def bending(image):\n    return image.diff(n=2, dim=-1).abs().mean()\n"
    )
    return tmp_path


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    make_fits_short(monkeypatch)


@pytest.fixture
def clusters(monkeypatch: pytest.MonkeyPatch) -> None:
    """Clusters that have one worker, in this process."""
    distributed = pytest.importorskip("distributed")
    local, cuda = distributed.LocalCluster, ModuleType("dask_cuda")

    def one_worker(**_: Any) -> Any:
        return local(n_workers=1, threads_per_worker=1, processes=False, dashboard_address="127.0.0.1:0")

    cuda.LocalCUDACluster = one_worker  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "dask_cuda", cuda)
    monkeypatch.setattr(distributed, "LocalCluster", one_worker)


@pytest.fixture
def libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """Networks of libraries that are not installed: of the same arguments and shapes."""

    class UNet(nn.Sequential):
        def __init__(self, spatial_dims: int, in_channels: int, out_channels: int, channels: Any, strides: Any) -> None:
            assert (spatial_dims, len(strides)) == (2, len(channels) - 1)
            down = nn.Conv2d(in_channels, channels[0], 3, strides[0], padding=1)
            super().__init__(down, nn.PReLU(), nn.ConvTranspose2d(channels[0], out_channels, 2, strides[0]))

    nets = ModuleType("monai.networks.nets")
    nets.UNet = UNet  # type: ignore[attr-defined]
    for name, module in {
        "monai": ModuleType("monai"),
        "monai.networks": ModuleType("networks"),
        nets.__name__: nets,
    }.items():
        monkeypatch.setitem(sys.modules, name, module)


def test_a_new_block_cannot_slip_by() -> None:
    examples = {"diff", "py", "{eval-rst}"}  # of changes to the package: test_contributing; and what Sphinx reads
    assert {each.kind for each in EVERYTHING} - examples == {"python", "command", "call"}
    assert {each.page for each in EVERYTHING} == set(PAGES) - PROSE
    assert not [word for word in ELSEWHERE if not any(word in each.text for each in EVERYTHING)]


@of_kind("python")
@pytest.mark.usefixtures("scratch", "quick", "clusters", "libraries")
def test_a_code_block_runs_alone(it: Printed) -> None:
    if "xarray" in it.text:
        pytest.importorskip("xarray")
    exec(compile(it.text, str(it), "exec"), {"__name__": "__main__"})


@pytest.mark.parametrize("page", ["README.md", *(f"docs/{task}.md" for task in TASKS)])
@pytest.mark.usefixtures("quick")
def test_what_a_script_writes_has_the_calibration_and_the_record(page: str, scratch: Path) -> None:
    cells = Picture(values=np.uint16(100 + 200 * noisy(36, 40)), axes="YX", pixel_size={"Y": 0.1, "X": 0.1}, unit="um")
    files.write(scratch / "cells.tif", cells.values, cells, overwrite=True)
    before = set(scratch.iterdir())
    exec(next(it.text for it in EVERYTHING if it.page == page and it.kind == "python"), {})
    (written,) = (files.read(each) for each in set(scratch.iterdir()) - before)
    assert (written.unit, written.pixel_size["X"]) == ("µm", pytest.approx(0.05 if "super" in page else 0.1))
    assert written.record["task"] == (page[5:-3] if page != "README.md" else "denoise")


@of_kind("python", elsewhere=True)
def test_a_code_block_for_elsewhere_is_python(it: Printed) -> None:
    ast.parse(it.text)


@pytest.mark.filterwarnings("ignore:the image has one value only")
@pytest.mark.usefixtures("quick")
def test_the_code_blocks_of_the_readme_run_on_a_blank_image_too(scratch: Path) -> None:
    io.imsave(scratch / "cells.tif", np.zeros((32, 40), np.uint8), check_contrast=False)
    for it in EVERYTHING:
        if it.page == "README.md" and it.kind == "python":
            exec(it.text, {})


@of_kind("call")
@pytest.mark.usefixtures("scratch", "quick")
def test_a_call_in_a_sentence_runs(it: Printed) -> None:
    image = io.imread("cells.tif")
    names: dict[str, Any] = {name: getattr(napari_dip, name) for name in napari_dip.__all__}
    names |= {"napari_dip": napari_dip, "trust": trust}
    names |= {"image": image, "other": image, "truth": image, "mask": io.imread("holes.tif") > 0}
    names |= {"stack": io.imread("stack.tif"), "volume": io.imread("stack.tif")}
    if "result" in it.text:
        names["result"] = napari_dip.denoise(image, uncertainty=True)
    if "restored" in it.text:
        tiny = {"preset": "denoise-small", "runs": 1, "channels": 4, "scales": 2, "iterations": 3}
        names |= {
            "restored": napari_dip.restore_blocks("denoise", "in.zarr", "out.zarr", **tiny),
            "truth": "truth.zarr",
        }
    if "channel_axis=-1" in it.text:
        names["image"] = np.stack([image] * 3, axis=-1)
    exec(it.text, names)


@of_kind("command")
@pytest.mark.usefixtures("scratch", "quick")
def test_a_command_runs(it: Printed, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    program, *words = shlex.split(it.text, comments=True)
    if (program, *words[:2]) == ("python", "-m", "benchmarks"):  # hours: understood, that is all
        monkeypatch.setattr(f"benchmarks.{words[2]}.main", lambda _: 0)
        assert benchmarks.main(words[2:]) == 0
        return
    assert program == "napari-dip"
    try:
        status = cli.main(words)
    except SystemExit as end:
        status = int(end.code or 0)
    assert status == 0, capsys.readouterr().err


@of_kind("command", elsewhere=True)
def test_a_command_for_elsewhere_is_understood(it: Printed) -> None:
    program, *words = shlex.split(it.text, comments=True)
    if program == "napari-dip":
        options.parse(words)
    if program == "make":
        known = re.findall(r"^(\w[\w-]*) *[:?]", (ROOT / "Makefile").read_text(), re.MULTILINE)  # targets, variables
        assert {word.partition("=")[0] for word in words} <= set(known)


# --------------------------------------------------------------------------------------------------------------- links


INSIDE = "|".join([f"{HOME}/(?:blob|tree)/main/", f"{HOME.replace('github.com', 'raw.githubusercontent.com')}/main/"])


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_to_what_is_there(page: str) -> None:
    """README is read where packages are listed too, which have none of the other files."""
    for link in re.findall(r"(?:\]\(|^\[\w+\]: )([^)\s]+)", (ROOT / page).read_text(encoding="utf-8"), re.MULTILINE):
        whole = re.match(INSIDE, link)
        target, _, heading = link[whole.end() if whole else 0 :].partition("#")
        if "://" in target:
            continue
        assert whole or page != "README.md", f"{link} is relative"
        file = ROOT / target if whole else (ROOT / page).parent / target if target else ROOT / page
        assert file.exists(), link
        if heading:
            titles = re.findall(r"^#+ (.*)$", file.read_text(encoding="utf-8"), re.MULTILINE)
            assert heading in [re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles], link
