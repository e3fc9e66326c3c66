"""Sphinx settings: ``pip install -e ".[docs]" && sphinx-build -W docs docs/_build``."""

from pathlib import Path

from deeph import __version__
from deeph.files.config_file import to_toml

project = "deeph"
author = "The deeph developers"
release = __version__
extensions = ["myst_parser", "sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.mathjax"]
myst_enable_extensions = ["dollarmath", "amsmath"]
myst_heading_anchors = 3
exclude_patterns = ["_build"]
autodoc_typehints = "description"
napoleon_google_docstring = False

# training.md shows the settings as the program documents them
(Path(__file__).parent / "_build").mkdir(exist_ok=True)
(Path(__file__).parent / "_build" / "settings.toml").write_text(to_toml(), encoding="utf-8")
