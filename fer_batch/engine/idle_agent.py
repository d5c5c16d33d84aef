"""Stands in for an agent of an embedded Ray: ``python idle_agent.py --ports=NAME,... --session-dir=... --node-id=...``.

Ray starts two agents a node, for its dashboard and for environments of tasks, waits until they have written down the
ports on which they listen, and ends where one of them does. A run on this machine needs neither: this one writes down
that it listens on none, lives as long as Ray does, and does nothing. It imports Python's own modules alone, so that it
starts at once.
"""

import os
import sys
import time

NOT_IN_USE = "-1"
"""Ray's own word for a service that is not there."""

LOOK_S = 0.5
"""How often it is looked whether Ray is still there."""


def main(arguments: list[str]) -> None:
    """Write the ports' files, whole or not at all, and wait for the end of the raylet that started this."""
    options = dict(argument[2:].split("=", 1) for argument in arguments if "=" in argument)
    for name in options["ports"].split(","):
        path = os.path.join(options["session-dir"], f"{name}_{options['node-id']}")
        with open(path + ".part", "w", encoding="ascii") as file:
            file.write(NOT_IN_USE)
        os.replace(path + ".part", path)
    raylet = int(os.environ["RAY_RAYLET_PID"])
    while os.getppid() == raylet:
        time.sleep(LOOK_S)


if __name__ == "__main__":
    main(sys.argv[1:])
