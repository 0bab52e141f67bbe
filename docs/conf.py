"""The site: Sphinx reads these pages and the docstrings of the package. ``make docs`` builds it, without a network.

Pages are Markdown that reads well in a repository too. What the code knows is not said twice: a comment such as
``<!-- knobs -->`` is replaced by what a function of `tables` makes of it.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parent))
import tables

import napari_dip

REPOSITORY = "https://github.com/napari-dip/napari-dip"

project = "napari-dip"
author = copyright = "napari-dip developers"
version = release = napari_dip.__version__

extensions = ["myst_parser", "numpydoc", "sphinx.ext.autodoc"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3  # links name headings as the repository's pages do
numpydoc_show_class_members = False
autodoc_default_options = {"member-order": "bysource"}
nitpicky = False  # types of numpy and of the standard library are on other sites
default_role = "literal"  # `name` in a docstring

html_theme = "furo"
html_title = "napari-dip"
html_favicon = html_logo = "../src/napari_dip/icon.svg"
html_copy_source = False
html_theme_options = {"source_repository": REPOSITORY, "source_branch": "main", "source_directory": "docs/"}


def complete(app: Any, page: str, source: list[str]) -> None:
    """Put tables of the code where a page asks for them, and let links out of this folder lead to the repository."""
    text = re.sub(r"<!-- (\w+) -->", lambda match: getattr(tables, match[1])(), source[0])
    source[0] = re.sub(r"\]\(\.\./", f"]({REPOSITORY}/blob/main/", text)


def keep_stars(app: Any, kind: str, name: str, it: Any, options: Any, lines: list[str]) -> None:
    """Let the star of a shape such as (*leading, *S) be a star, where reStructuredText would begin to emphasise."""
    lines[:] = [re.sub(r"(`[^`]*`)|(?<![\w*])\*(?=\w)", lambda m: m[1] or r"\*", line) for line in lines]


def publish_schema(app: Any, error: Exception | None) -> None:
    """Put the JSON schema of files with settings beside the pages."""
    text = json.dumps(napari_dip.settings_schema(), indent=1, ensure_ascii=False)
    Path(app.outdir, "settings.schema.json").write_text(text + "\n", encoding="utf-8")


def setup(app: Any) -> None:
    app.connect("build-finished", publish_schema)
    app.connect("source-read", complete)
    app.connect("autodoc-process-docstring", keep_stars, priority=400)  # before numpydoc
