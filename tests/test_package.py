"""What is shipped: the manifest, what it names, and the wheel."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib import import_module
from importlib.metadata import entry_points, metadata, requires
from importlib.resources import files
from pathlib import Path
from xml.etree import ElementTree

import pytest
import yaml
from napari._app_model.constants import MenuId
from npe2 import PluginManifest

import napari_dip

PACKAGE = Path(napari_dip.__file__).parent
ROOT = PACKAGE.parent.parent

pytestmark = pytest.mark.skipif(not (ROOT / "napari.yaml").exists(), reason="needs a checkout")


@pytest.fixture(scope="module")
def manifest() -> PluginManifest:
    return PluginManifest.from_file(PACKAGE / "napari.yaml")


def test_napari_finds_the_manifest() -> None:
    (entry,) = entry_points(group="napari.manifest", name="napari-dip")
    assert entry.value == "napari_dip:napari.yaml"
    assert (ROOT / "napari.yaml").read_text() == (PACKAGE / "napari.yaml").read_text()


def test_npe2_has_no_complaint() -> None:
    run = subprocess.run(
        [sys.executable, "-m", "npe2", "validate", "napari-dip"], capture_output=True, text=True, timeout=120
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "valid" in run.stdout


def test_the_icon_is_a_square_drawing(manifest: PluginManifest) -> None:
    package, name = str(manifest.icon).split(":")
    drawing = ElementTree.parse(str(files(package) / name)).getroot()
    assert drawing.tag.endswith("}svg")
    left, top, width, height = map(float, drawing.attrib["viewBox"].split())
    assert (left, top) == (0, 0)
    assert width == height


def test_every_command_leads_to_something_callable(manifest: PluginManifest) -> None:
    for command in manifest.contributions.commands or ():
        module, name = str(command.python_name).split(":")
        assert callable(getattr(import_module(module), name)), command.id


def test_every_command_is_reachable(manifest: PluginManifest) -> None:
    contributions = manifest.contributions
    parts = contributions.widgets, contributions.sample_data, contributions.readers, contributions.writers
    reached = {item.command for part in parts for item in part or ()}
    reached |= {item.command for item in contributions.menus["napari/file/io_utilities"]}
    assert reached == {command.id for command in contributions.commands or ()}


def test_menus_are_some_that_napari_lets_plugins_add_to(manifest: PluginManifest) -> None:
    own = {submenu.id for submenu in manifest.contributions.submenus or ()}
    theirs = set(manifest.contributions.menus) - own
    assert theirs == {"napari/layers/filter", "napari/file/io_utilities"}
    assert theirs <= {str(menu) for menu in MenuId.contributables()}
    (submenu,) = own
    shown = [item.command for item in manifest.contributions.menus[submenu]]
    assert shown == [widget.command for widget in manifest.contributions.widgets or ()]


def test_the_wheel_has_the_manifest_and_the_marker_of_types(tmp_path: Path) -> None:
    wheel_builder = pytest.importorskip("hatchling.builders.wheel").WheelBuilder
    (wheel,) = wheel_builder(str(ROOT)).build(directory=str(tmp_path), versions=["standard"])
    names = zipfile.ZipFile(wheel).namelist()
    assert {"napari_dip/napari.yaml", "napari_dip/icon.svg", "napari_dip/py.typed"} <= set(names)
    assert any(name.endswith("licenses/LICENSE") for name in names)
    assert all(name.startswith(("napari_dip/", "napari_dip-")) for name in names)


def test_every_public_name_is_there() -> None:
    for name in (*napari_dip.__all__, "viewer"):
        assert getattr(napari_dip, name) is not None
    for name in napari_dip.trust.__all__:
        assert getattr(napari_dip.trust, name).__doc__, name
    with pytest.raises(AttributeError, match="no attribute 'denoize'"):
        napari_dip.denoize  # noqa: B018


def test_the_version_is_said_once() -> None:
    assert metadata("napari-dip")["Version"] == napari_dip.__version__


def test_docstrings_open_with_what_a_thing_is() -> None:
    for path in PACKAGE.rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node) or ""
                assert not re.match(r"(What|Whether|How)\b", text), f"{path}: {text}"


def test_a_window_is_an_extra_and_napari_has_no_upper_bound() -> None:
    needed = [line for line in requires("napari-dip") or () if "extra ==" not in line]
    assert not {"pyqt5", "pyqt6", "pyside2", "pyside6"} & {_bare(line) for line in needed}
    assert not [line for line in needed if line.startswith("napari") and "<" in line]
    assert [line for line in requires("napari-dip") or () if line.startswith("napari[all]")]


def test_pins_cover_what_is_asked_for() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    groups = project["dependency-groups"]
    asked = [
        *project["project"]["dependencies"],
        *groups["test"],
        *groups["docs"],
        *(x for x in groups["dev"] if isinstance(x, str)),
    ]
    pins = dict(line.split("==") for line in (ROOT / "constraints.txt").read_text().splitlines() if "==" in line)
    assert pins["torch"] == "2.13.0"
    assert not [name for name in map(_bare, asked) if name not in {_bare(pin) for pin in pins}]


def test_every_dependency_has_a_lowest_version_to_try() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    asked = [*project["dependencies"], *project["optional-dependencies"]["all"]]
    assert [name for name in asked if ">=" not in name] == ["napari[all]"]  # napari's own is above


def test_the_recipe_asks_for_what_the_project_asks_for() -> None:
    """Conda has other names for two of them."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    lines = (line for line in (ROOT / "recipe/meta.yaml").read_text().splitlines() if not line.startswith("{%"))
    recipe = yaml.safe_load(re.sub(r"{{ *(\w+) *}}", r"\1", "\n".join(lines)))
    conda = {"dask[array]": "dask-core", "torch": "pytorch"}
    wanted = {
        f"{conda.get(name, name)} >={lowest}" for name, lowest in (x.split(">=") for x in project["dependencies"])
    }
    assert set(recipe["requirements"]["run"]) == wanted | {f"python {project['requires-python']}"}
    assert recipe["build"]["entry_points"] == [f"{name} = {at}" for name, at in project["scripts"].items()]


def test_the_version_of_recipe_and_citation_is_that_of_the_package() -> None:
    recipe, citation = ((ROOT / name).read_text() for name in ("recipe/meta.yaml", "CITATION.cff"))
    assert f'{{% set version = "{napari_dip.__version__}" %}}' in recipe
    assert yaml.safe_load(citation)["version"] == napari_dip.__version__


def _bare(requirement: str) -> str:
    """The name of a requirement, normalised."""
    return requirement.split(">")[0].split("=")[0].split("[")[0].strip().lower().replace("_", "-")
