"""Builds the documents: generated blocks, diagrams, PDFs, slides and the site in docs/_site.

`python -m docs.build blocks` fills the generated blocks alone.
"""

import hashlib
import json
import re
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import report
from data.settings import ROOT
from docs import reference

DOCS = ROOT / "docs"
REPORTS = ("business", "concept", "technical", "slides", "evaluation")
MADE_FROM = DOCS / "report" / "pdf" / "made-from.json"  # digests of what was built from
IMAGE = re.compile(r"!\[[^\]]*\]\(([^)]+)\)")


def blocks() -> None:
    """Figures from the result files and reference tables from the code."""
    report.fill_documents()
    for page in reference.pages():
        text = page.read_text()
        if (filled := reference.fill(text)) != text:
            page.write_text(filled)


def sources() -> dict[str, str]:
    """SHA-256 of what each diagram and each PDF is made from: a test compares it with MADE_FROM."""
    found = {}
    for source in _diagrams():
        found[f"{source.stem}.svg"] = _digest([source, DOCS / "diagrams" / "_parts.typ"])
    for name in REPORTS:
        page = DOCS / "report" / f"{name}.md"
        images = [(page.parent / path).resolve() for path in IMAGE.findall(page.read_text())]
        found[f"{name}.pdf"] = _digest([page, DOCS / "report" / _template(name), *images])
    return found


def _digest(paths: list[Path]) -> str:
    return hashlib.sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()


def _diagrams() -> list[Path]:
    return sorted((DOCS / "diagrams").glob("[!_]*.typ"))


def _template(name: str) -> str:
    return "slides-template.typ" if name == "slides" else "report-template.typ"


def diagrams() -> None:
    """Each docs/diagrams/NAME.typ as an SVG image."""
    import typst

    for source in _diagrams():
        image = DOCS / "images" / f"{source.stem}.svg"
        typst.compile(source, output=image, root=DOCS, format="svg", ignore_system_fonts=True)


def pdfs() -> None:
    """Each docs/report/NAME.md as docs/report/pdf/NAME.pdf, by Pandoc and Typst."""
    import pypandoc
    import typst

    diagrams()
    folder = DOCS / "report"
    (folder / "pdf").mkdir(exist_ok=True)
    for name in REPORTS:
        source = folder / f"{name}.typ"
        text = re.sub(r"<!--.*?-->", "", (folder / f"{name}.md").read_text())
        pypandoc.convert_text(
            text,
            "typst",
            format="gfm-raw_html+yaml_metadata_block+implicit_figures+smart",
            outputfile=str(source),
            extra_args=[
                *("--template", str(folder / _template(name)), "--wrap=none"),
                "--shift-heading-level-by=-1",  # in Markdown the title has level 1
            ],
        )
        typst.compile(
            source, output=folder / "pdf" / f"{name}.pdf", root=DOCS, ignore_system_fonts=True
        )
        source.unlink()
    MADE_FROM.write_text(json.dumps(sources(), indent=1) + "\n")


def site() -> None:
    """The site; a link that leads nowhere fails the build."""
    from sphinx.cmd.build import build_main

    if build_main(["-q", "-W", "--keep-going", "-b", "html", str(DOCS), str(DOCS / "_site")]):
        raise SystemExit("The site was not built: see the messages above.")


STEPS: dict[str, Callable[[], None]] = {f.__name__: f for f in (blocks, pdfs, site)}


def main(chosen: list[str]) -> None:
    """Runs the steps that are named, or all."""
    for name in chosen or STEPS:
        print(f"{name} ...", flush=True)
        STEPS[name]()
    print(f"Site: {Path('docs/_site/index.html')}; reports and slides: {Path('docs/report/pdf')}")


if __name__ == "__main__":
    main(sys.argv[1:])
