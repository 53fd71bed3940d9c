"""Settings of the documentation site (Sphinx with MyST and Furo)."""

project = "Shelfcast"
author = "The Shelfcast authors"
extensions = ["myst_parser"]
myst_enable_extensions = ["colon_fence", "deflist"]
myst_heading_anchors = 3
myst_title_to_header = True  # of reports, whose title is metadata for their PDF
source_suffix = {".md": "markdown"}
exclude_patterns = ["_site", "report/pdf"]
html_theme = "furo"
html_title = "Shelfcast"
html_copy_source = False
html_show_copyright = False
html_static_path = ["_static"]
html_css_files = ["site.css"]
suppress_warnings = ["myst.xref_missing"]  # links to files of the checkout; a test follows them
html_theme_options = {"source_repository": "", "navigation_with_keys": True}
