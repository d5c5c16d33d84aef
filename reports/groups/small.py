"""Groups too small to be shown, and what must go with them so that no total gives them away.

Conditions and stimuli that too few people are left in are taken out before anything is computed: no total holds them,
so none minus what is shown tells how many they are or what they showed. Within what is left, a stimulus in one
condition may still be too small; then :func:`shown_groups` hides its neighbour too.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from fer_batch.errors import RefusedError
from reports import wording
from reports.groups.estimate import LEAST_PEOPLE
from reports.groups.trials import Trial


def check_size(info: dict[str, Any], min_group: int) -> None:
    """Refuse pages with groups in which single people of the workplace or of education would show.

    Args:
        info: the run's ``run.json``.
        min_group: smallest group that is shown. Below 12 people the pages have each person's points.

    Raises:
        RefusedError: the groups may be too small.
    """
    if wording.groups_only(info) and min_group < LEAST_PEOPLE:
        raise RefusedError(f"--min-group is {min_group}; about people at work or in education no group of fewer than "
                           f"{LEAST_PEOPLE} people is shown: allowed is {LEAST_PEOPLE} or more")  # fmt: skip


def too_small(
    watched: Sequence[Trial], analysed: Sequence[Trial], min_group: int
) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Conditions and stimuli with fewer than `min_group` people who are analysed, in the order of the table.

    Where all conditions are too small none is named, and likewise stimuli: nothing is left to be subtracted from a
    total. A stimulus is judged by who is left without the small conditions, and the other way round.

    Args:
        watched: all rows that are no baseline.
        analysed: those of them that are analysed.
        min_group: people that a group needs.
    """
    conditions: tuple[str, ...] = ()
    stimuli: tuple[str, ...] = ()
    while True:
        left = [one for one in watched if one.condition not in conditions and one.stimulus not in stimuli]
        kept = {one.row for one in left} & {one.row for one in analysed}
        if more := _few([(one.condition or "", one.participant, one.row in kept) for one in left], min_group):
            conditions += more
        elif more := _few([(one.stimulus, one.participant, one.row in kept) for one in left], min_group):
            stimuli += more
        else:
            return conditions, stimuli


def _few(rows: Sequence[tuple[str, str, bool]], min_group: int) -> tuple[str, ...]:
    """Which of the groups have too few people, unless all of them have; rows are group, person, whether analysed."""
    people: dict[str, set[str]] = {group: set() for group, _, _ in rows}
    for group, person, analysed in rows:
        if analysed:
            people[group].add(person)
    few = tuple(group for group, found in people.items() if len(found) < min_group)
    return few if len(few) < len(people) else ()


def shown_groups(present: NDArray[np.bool_], min_group: int) -> NDArray[np.bool_]:
    """Which groups may be shown beside a total over all people.

    A group of fewer than `min_group` people is not. Where the people who are in no shown group would then be fewer than
    `min_group` (but some), the total minus the shown groups would be a small group after all: so the smallest of those
    that are left goes too, until they are enough or nothing is shown (complementary suppression).

    Args:
        present: bool (people, groups), who is in which group; a person may be in several.
        min_group: people that a group needs.

    Returns:
        bool (groups,).
    """
    people = present.sum(axis=0)
    shown = people >= min_group
    while shown.any() and 0 < (present.any(axis=1) & ~present[:, shown].any(axis=1)).sum() < min_group:
        shown[min(np.flatnonzero(shown), key=lambda group: int(people[group]))] = False
    return np.asarray(shown)
