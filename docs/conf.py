"""How the site is built: `make docs`. Nothing in it is loaded from elsewhere."""

project = "wmloop"
copyright = "the authors of wmloop, MIT licence"
root_doc = "index"
extensions = ["myst_parser"]
myst_enable_extensions = ["attrs_block"]
myst_heading_anchors = 4
html_theme = "furo"
html_title = "wmloop"
html_copy_source = False
html_show_sphinx = False
suppress_warnings = ["misc.highlighting_failure"]
nitpicky = True
