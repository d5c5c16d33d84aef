"""How fast it is: ``python -m benchmarks``, or ``make bench``.

Prints tables, and writes ``bench.json`` and ``index.html`` into --out. All that is compared is measured in the same
run, on the same clips, which are made on the spot. On a machine that does other things figures mean little: the load at
the start is written beside them.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from benchmarks.clips import Clip
from benchmarks.parts import CLIPS, Bench, peer, scaling, short_clips, stages, start_up
from benchmarks.show import print_tables, write_page

PACKAGES = ("fer-batch", "ray", "av", "onnxruntime", "opencv-python-headless", "ai-edge-litert", "numpy", "pyarrow")


def main() -> None:
    """Measure all, or what is asked."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("bench"), help="where clips, figures and the page go")
    parser.add_argument("--repeats", type=int, default=3, help="how often each run is measured")
    parser.add_argument("--short", type=int, default=1000, help="how many one-second clips")
    parser.add_argument("--quick", action="store_true", help="one clip of twelve seconds, once: does it work at all?")
    parser.add_argument("--peer-python", type=Path, default=Path("python"), help="a Python that has the package fer")
    asked = parser.parse_args()
    out: Path = asked.out
    work = out / "work"
    work.mkdir(parents=True, exist_ok=True)
    bench = Bench(out / "clips", work, *((1, 1) if asked.quick else (5, asked.repeats)))
    clips: tuple[Clip, ...] = CLIPS[:1] if asked.quick else CLIPS
    for clip in clips:  # so that no run waits for an encoder
        bench.clip(clip)
    found: dict[str, Any] = {"machine": _machine()}
    found["start_up"] = _told("start-up", lambda: start_up(bench))
    found["stages"] = [_told(clip.name, lambda clip=clip: stages(bench, clip, found["start_up"])) for clip in clips]  # type: ignore[misc]
    if not asked.quick:
        found["scaling"] = _told("scaling", lambda: scaling(bench, found["start_up"]))
        found["short"] = _told("short clips", lambda: short_clips(bench, found["start_up"], asked.short))
        found["peer"] = _told("fer", lambda: peer(bench, asked.peer_python))
    (out / "bench.json").write_text(json.dumps(found, indent=2))
    print_tables(found)
    print(f"figures: {out / 'bench.json'}\npage: {write_page(found, out / 'index.html')}")


def _told(what: str, measure: Any) -> Any:
    print(f"measuring {what} ...", flush=True)
    return measure()


def _machine() -> dict[str, Any]:
    return {
        "when": datetime.now(UTC).isoformat(timespec="seconds"),
        "cores": len(os.sched_getaffinity(0)),
        "system": f"{platform.system()} {platform.machine()}, Python {platform.python_version()}",
        "load": os.getloadavg()[0],
        "versions": {name: version(name) for name in PACKAGES},
    }


if __name__ == "__main__":
    main()
