"""Builds the documents: generated blocks, diagrams, PDFs, slides and the site in docs/_site.

`python -m docs.build blocks` fills the generated blocks alone.
"""

import re
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import report
from data.settings import ROOT
from docs import reference

DOCS = ROOT / "docs"
REPORTS = ("business", "concept", "technical", "slides", "evaluation")


def blocks() -> None:
    """Figures from the result files and reference tables from the code."""
    report.fill_documents()
    for page in reference.pages():
        text = page.read_text()
        if (filled := reference.fill(text)) != text:
            page.write_text(filled)


def diagrams() -> None:
    """Each docs/diagrams/NAME.typ as an SVG image."""
    import typst

    for source in sorted((DOCS / "diagrams").glob("[!_]*.typ")):
        image = DOCS / "images" / f"{source.stem}.svg"
        typst.compile(source, output=image, root=DOCS, format="svg", ignore_system_fonts=True)


def pdfs() -> None:
    """Each docs/report/NAME.md as docs/report/pdf/NAME.pdf, by Pandoc and Typst."""
    import pypandoc
    import typst

    folder = DOCS / "report"
    (folder / "pdf").mkdir(exist_ok=True)
    for name in REPORTS:
        template = "slides-template.typ" if name == "slides" else "report-template.typ"
        source = folder / f"{name}.typ"
        text = re.sub(r"<!--.*?-->", "", (folder / f"{name}.md").read_text())
        pypandoc.convert_text(
            text,
            "typst",
            format="gfm-raw_html+yaml_metadata_block+implicit_figures",
            outputfile=str(source),
            extra_args=["--template", str(folder / template), "--wrap=none"],
        )
        typst.compile(
            source, output=folder / "pdf" / f"{name}.pdf", root=DOCS, ignore_system_fonts=True
        )
        source.unlink()


def site() -> None:
    """The site; a link that leads nowhere fails the build."""
    from sphinx.cmd.build import build_main

    if build_main(["-q", "-W", "--keep-going", "-b", "html", str(DOCS), str(DOCS / "_site")]):
        raise SystemExit("The site was not built: see the messages above.")


STEPS: dict[str, Callable[[], None]] = {f.__name__: f for f in (blocks, diagrams, pdfs, site)}


def main(chosen: list[str]) -> None:
    """Runs the steps that are named, or all."""
    for name in chosen or STEPS:
        print(f"{name} ...", flush=True)
        STEPS[name]()
    print(f"Site: {Path('docs/_site/index.html')}; reports and slides: {Path('docs/report/pdf')}")


if __name__ == "__main__":
    main(sys.argv[1:])
