"""Tables as an Excel workbook."""

import re
from datetime import date
from io import BytesIO

import xlsxwriter
from xlsxwriter.worksheet import Worksheet

from serving.api.files import Cell, Sheet

MEDIA_TYPE = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
NAME_LENGTH = 31  # Excel's limit
FORBIDDEN = re.compile(r"[\[\]:*?/\\\x00-\x1f']")
FIRST_DAY = "1900-03-01"  # Excel counts a 29 February 1900 that never was


def workbook(sheets: list[Sheet]) -> bytes:
    """An .xlsx file with a sheet for each of `sheets`, in order.

    Texts stay texts, whatever they begin with: no cell is a formula or a link. A text that is a
    day (2017-09-11) becomes a date.
    """
    content = BytesIO()
    with xlsxwriter.Workbook(content, {"in_memory": True}) as book:
        bold, day = book.add_format({"bold": True}), book.add_format({"num_format": "yyyy-mm-dd"})
        taken: set[str] = set()
        for sheet in sheets:
            page = book.add_worksheet(_name(sheet.name, taken))
            page.freeze_panes(1, 0)
            for column, name in enumerate(sheet.columns):
                page.write_string(0, column, name, bold)
            for row, cells in enumerate(sheet.rows, start=1):
                for column, value in enumerate(cells):
                    _write(page, row, column, value, day)
            page.autofit()
    return content.getvalue()


def _write(page: Worksheet, row: int, column: int, value: Cell, day: object) -> None:
    if isinstance(value, float):
        page.write_number(row, column, value)
    elif value is not None and (found := _day(value)):
        page.write_datetime(row, column, found, day)
    elif value is not None:
        page.write_string(row, column, value)


def _day(text: str) -> date | None:
    if not re.fullmatch(r"\d{4}-\d\d-\d\d", text, re.ASCII) or text < FIRST_DAY:
        return None
    try:
        return date.fromisoformat(text)
    except ValueError:
        return None


def _name(wanted: str, taken: set[str]) -> str:
    """A name that Excel takes and that no sheet before has."""
    base = FORBIDDEN.sub(" ", wanted).strip() or "Sheet"
    name, n = base[:NAME_LENGTH], 1
    while name.lower() in taken:
        n += 1
        name = f"{base[: NAME_LENGTH - 4]} {n}"
    taken.add(name.lower())
    return name
