"""How the manual is built: strictly, and from nothing but this tree."""

from __future__ import annotations

import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import leasedkeyq  # noqa: E402

project = "leasedkeyq"
author = "leasedkeyq contributors"
project_copyright = author
release = version = leasedkeyq.__version__

extensions = [
    "myst_parser",
    "sphinx.ext.autodoc",
    "sphinx_copybutton",
    "docs._ext.directives",
]
exclude_patterns = ["_build", "_ext"]

# Every reference must lead somewhere. These lead into the standard library, and the manual is
# built without asking any other host for its inventory.
nitpicky = True
nitpick_ignore_regex = [
    (
        "py:(class|exc|obj|func|meth|mod)",
        r"(asyncio|collections|concurrent|logging|math|os|types|typing)\..*",
    ),
    (
        "py:(class|exc|obj)",
        r"(bool|float|int|str|set|list|tuple|None|\w*Error|Exception|Generic|property)",
    ),
    ("py:class", r"(leasedkeyq\.\w+\.)?(K|V|V_co|Server|Durability)"),
    ("py:(class|obj)", r"leasedkeyq\.(jobs|workers)\.\w+|Jobs\.job"),  # protocols, not exported
]

# Single backquotes in the docstrings are references to Python objects.
default_role = "py:obj"
autodoc_member_order = "bysource"
autodoc_typehints = "signature"
autodoc_default_options = {"members": True}
python_use_unqualified_type_names = True

myst_enable_extensions = ["attrs_inline", "colon_fence", "deflist"]
myst_heading_anchors = 3
myst_links_external_new_tab = False
myst_url_schemes = ["http", "https", "mailto", "source"]  # source: see docs/_ext

html_theme = "furo"
html_title = f"leasedkeyq {release}"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_js_files = ["site.js"]
html_copy_source = False
html_show_sourcelink = False
html_theme_options = {"navigation_with_keys": True}
pygments_style = "default"
pygments_dark_style = "monokai"

copybutton_prompt_text = "$ "
copybutton_exclude = ".linenos, .gp, .go"
