"""Starts, watches and stops the local stack: Prefect, MLflow and Ray Serve on this machine.

`python -m stack up` starts a supervisor (`python -m stack run`) that outlives the terminal and
starts a dead process again; `status` shows the processes, `down` stops them, `clean` deletes
what they wrote.
"""

import sys

from data.settings import command_settings
from stack.commands import clean, down, status, up
from stack.supervisor import Supervisor


def main(arguments: list[str]) -> int:
    verbs = {"up": up, "down": down, "status": status, "clean": clean}
    if arguments == ["run"]:
        return Supervisor(command_settings()).run()
    if len(arguments) != 1 or arguments[0] not in verbs:
        print(f"usage: python -m stack {' | '.join(verbs)}", file=sys.stderr)
        return 2
    return verbs[arguments[0]](command_settings())


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
