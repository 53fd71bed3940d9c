"""What documents tell their readers to type, taken out of their pages."""

import re
import shlex
from pathlib import Path
from typing import NamedTuple

from benchmarks.report import documents
from data.settings import ROOT

PAGES = [ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md", *documents()]
OWN = ("python", "prefect", "feast")  # of the project: .venv/bin/ stands before them
SYSTEM = ("cd", "cp", "curl", "df", "du", "echo", "export", "fuser", "git", "make", "mv", "tar")
ASSIGNED = re.compile(r"^[A-Z_]+=")


class Told(NamedTuple):
    """A command that a page tells."""

    page: str
    words: tuple[str, ...]

    @property
    def line(self) -> str:
        return " ".join(self.words)


def fences(text: str, language: str) -> list[str]:
    found = re.findall(r"^( *)```(\S*)\n(.*?)^ *```", text, re.MULTILINE | re.DOTALL)
    lines = [(said, re.sub(rf"^{indent}", "", body, flags=re.M)) for indent, said, body in found]
    return [body for said, body in lines if said == language]


def spans(text: str) -> list[str]:
    """What stands between single backticks, as one line each."""
    prose = re.sub(r"^ *```.*?^ *```", "", text, flags=re.MULTILINE | re.DOTALL)
    return [" ".join(span.split()) for span in re.findall(r"(?<!`)`([^`]+)`(?!`)", prose)]


def words_of(line: str) -> list[str]:
    """A command's words, without variables that are set for it."""
    words = shlex.split(line, comments=True)
    while words and ASSIGNED.match(words[0]):
        words.pop(0)
    return words


def is_command(span: str) -> bool:
    words = words_of(span) if "'" not in span else []
    return len(words) > 1 and words[0].removeprefix(".venv/bin/") in (*OWN, *SYSTEM, "pytest", "uv")


def told(page: Path) -> list[Told]:
    """Every command of a page, in blocks without a language and between backticks."""
    text = page.read_text()
    lines = [line for body in fences(text, "") for line in body.replace("\\\n", " ").splitlines()]
    parts = [part for line in lines for part in line.split("&&")]
    parts += [span for span in spans(text) if is_command(span)]
    return [Told(page.name, tuple(words)) for part in parts if (words := words_of(part))]


COMMANDS = sorted({command for page in PAGES for command in told(page)})
