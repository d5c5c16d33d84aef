"""``python -m tests.privacy.child INPUT OUT MODEL CONTROL [die]``: a run at level `aggregate`, to be recorded.

With `die` it kills itself, as by kill -9, when the first bins of an unfinished video are committed. CONTROL is a file
into which known bytes are written at the start, to see that the recording sees them.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from pathlib import Path

CONTROL = bytes(range(200, 232))


def main(source: str, out: str, model: str, control: str, *more: str) -> None:
    """Run, in units as small as can be."""
    import fer_batch
    from fer_batch import unit_size
    from fer_batch.schema import FACES
    from fer_batch.store import write_table
    from tests.privacy.test_aggregate import CONFIG

    Path(control).write_bytes(CONTROL)
    write_table(Path(f"{control}.parquet"), FACES.empty_table())
    for name in ("UNIT_COST_S", "MIN_UNIT_COST_S"):
        setattr(unit_size, name, 0.01)
    if "die" in more:
        threading.Thread(target=_die_in_time, args=(Path(out),), daemon=True).start()
    fer_batch.run(source, out, CONFIG, model=model, resources=fer_batch.Resources(cpus=2))


def _die_in_time(out: Path) -> None:
    while not list(out.glob("work/units/*/*.bins.parquet")):
        time.sleep(0.005)
    os.kill(os.getpid(), signal.SIGKILL)


if __name__ == "__main__":
    main(*sys.argv[1:])
