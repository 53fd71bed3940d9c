"""Tables over the wire that are wanted as a file."""

from typing import Annotated, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from serving.api.series import FORBID

MAX_SHEETS = 20
MAX_COLUMNS = 100
MAX_ROWS = 10_000

Text = Annotated[str, Field(max_length=4000)]
Cell = Annotated[float, Field(allow_inf_nan=False)] | Text | None
Row = Annotated[list[Cell], Field(fail_fast=True)]


class Sheet(BaseModel):
    """One table."""

    model_config = FORBID

    name: Annotated[str, Field(min_length=1, max_length=200)] = Field(
        description="Name of the sheet; what Excel does not take is left out.",
        examples=["store 367 GROCERY"],
    )
    columns: Annotated[list[Text], Field(min_length=1, max_length=MAX_COLUMNS)] = Field(
        description="Names of the columns.", examples=[["day", "units sold"]]
    )
    rows: Annotated[list[Row], Field(max_length=MAX_ROWS, fail_fast=True)] = Field(
        description="Rows of numbers and texts, at most one cell a column.",
        examples=[[["2017-09-10", 41]]],
    )

    @model_validator(mode="after")
    def _no_cell_without_column(self) -> Self:
        longest = max((len(row) for row in self.rows), default=0)
        if longest > len(self.columns):
            raise ValueError(f"a row has {longest} cells for {len(self.columns)} columns")
        return self


class WorkbookRequest(BaseModel):
    """Tables to be written as one Excel workbook."""

    model_config = ConfigDict(
        extra="forbid",
        json_schema_extra={
            "examples": [
                {
                    "sheets": [
                        {
                            "name": "store 367 GROCERY",
                            "columns": ["day", "units sold"],
                            "rows": [["2017-09-10", 41]],
                        }
                    ]
                }
            ]
        },
    )

    sheets: list[Sheet] = Field(
        min_length=1, max_length=MAX_SHEETS, fail_fast=True, description="Tables, a sheet each."
    )
