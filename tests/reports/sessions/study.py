"""Runs of participants who come again, with known answers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from fer_batch.store import Run
from tests.reports.synthetic import SyntheticRun

HEAD = "participant,session,video,person,stimulus,start_ms,end_ms"


def face(happy: float, sad: float = 0.0) -> tuple[float, ...]:
    """Seven probabilities with a valence of `happy` - `sad` and an expressiveness of their sum."""
    return (0.0, 0.0, 0.0, happy, sad, 0.0, 1.0 - happy - sad)


def recorded(
    folder: Path,
    happy: Callable[[int, int], float],
    *,
    people: int = 14,
    sessions: int = 5,
    noise: float = 0.05,
    neutral_s: int = 60,
    talk_s: int = 240,
    **info: Any,
) -> tuple[Run, Path]:
    """A run and its table: each session a video that begins with a neutral stretch.

    Args:
        folder: for both.
        happy: p(happy) of person and session, both from 0; in the neutral stretch it is 0.1.
        people, sessions, neutral_s, talk_s: how many, how long.
        noise: of each sample, every 2 s.
        info: for ``run.json``.
    """
    random = np.random.default_rng(0)
    made = SyntheticRun(folder / "run", **info)
    lines = [HEAD]
    for person in range(people):
        for session in range(sessions):
            level = np.r_[np.full(neutral_s // 2, 0.1), np.full(talk_s // 2, happy(person, session))]
            level = np.clip(level + random.normal(0, noise, len(level)), 0, 0.9)
            name = f"p{person:02}-s{session + 1}.mp4"
            made.video(name, [[(1, face(value))] for value in level], step_ms=2000)
            row = f"P{person:02},2026-0{1 + session // 4}-{1 + 7 * (session % 4):02},{name},largest"
            lines += [f"{row},neutral,0,{neutral_s * 1000}", f"{row},talk,{neutral_s * 1000},"]
    table = folder / "people.csv"
    table.write_text("\n".join(lines) + "\n")
    return made.write(), table
