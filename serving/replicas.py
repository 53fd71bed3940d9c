"""What each replica serves, noted in a folder that they share, so that any of them tells of all."""

import fcntl
import logging
from contextlib import suppress
from pathlib import Path
from typing import TextIO
from uuid import uuid4

from pydantic import BaseModel

from serving.api.system import LoadError

logger = logging.getLogger("ray.serve.shelfcast")


class Served(BaseModel):
    """What one replica serves."""

    version: str | None
    load_error: LoadError | None


class Replicas:
    """A file per replica, locked as long as its process lives; the stack empties the `folder`."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._name = uuid4().hex
        self._file: TextIO | None = None

    def note(self, served: Served) -> None:
        """Tells the others, if there is a folder, what this replica serves now. Never raises."""
        if self.folder is None:
            return
        try:
            self.folder.mkdir(exist_ok=True)
            part = self.folder / f"{self._name}.part"
            file = part.open("w")
            fcntl.flock(file, fcntl.LOCK_EX)
            file.write(served.model_dump_json())
            file.flush()
            part.rename(part.with_suffix(".json"))
        except OSError:  # the note before stays: a swap that waits for this replica ends in time
            logger.exception("What this replica serves was not noted in %s", self.folder)
            return
        if self._file:
            self._file.close()
        self._file = file

    def living(self) -> list[Served]:
        """What the replicas serve that live now, this one among them; empty before `note`."""
        found = []
        for path in self.folder.glob("*.json") if self.folder else ():
            with suppress(FileNotFoundError), path.open() as file:
                try:
                    fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
                except BlockingIOError:
                    found.append(Served.model_validate_json(file.read()))
        return found
