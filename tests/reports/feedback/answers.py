"""A survey with known answers: three stimuli in changing order, some smiles, and two groups of people."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np

from fer_batch.store import Run
from tests.reports.sessions.study import face
from tests.reports.synthetic import SyntheticRun

STIMULI = ("advert", "logo", "song")
LENGTH_S = 10


def asked_people(folder: Path, people: int = 16, **info: Any) -> tuple[Run, Path]:
    """A run and its participants table.

    Each person watches a fixation of 5 s and three stimuli of 10 s, in one of the six orders, sampled every 500 ms.
    p(happy) is 0.1; of the advert's seconds 4 to 8 it is 0.7 for three of four people; for the song 0.3 throughout.
    People of the age group ``old`` show 0.1 more of it all the time.

    Args:
        folder: for both.
        people: how many; every second is old.
        info: for ``run.json``.
    """
    random = np.random.default_rng(1)
    orders = list(itertools.permutations(STIMULI))
    made = SyntheticRun(folder / "run", **info)
    lines = ["participant,video,person,stimulus,start_ms,end_ms,order,Age_Group,vip"]
    for person in range(people):
        old = person % 2
        order = orders[person % 6]
        levels = [np.full(10, 0.1)]
        for name in order:
            level = np.full(2 * LENGTH_S, 0.3 if name == "song" else 0.1)
            if name == "advert" and person % 4 != 3:
                level[8:16] = 0.7
            levels.append(level)
        happy = np.concatenate(levels) + 0.1 * old + random.normal(0, 0.01, 10 + 6 * LENGTH_S)
        made.video(f"v{person:02}.mp4", [[(1, face(value))] for value in np.clip(happy, 0, 1)])
        who = f"C{person:02},v{person:02}.mp4,largest"
        more = f"{'old' if old else 'young'},{'yes' if person < 3 else 'no'}"
        lines.append(f"{who},fixation,0,5000,,{more}")
        for position, name in enumerate(order, 1):
            start = 5_000 + (position - 1) * 1000 * LENGTH_S
            lines.append(f"{who},{name},{start},{start + 1000 * LENGTH_S},{position},{more}")
    table = folder / "people.csv"
    table.write_text("\n".join(lines) + "\n")
    return made.write(), table
