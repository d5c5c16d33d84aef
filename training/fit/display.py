"""What a person sees of a training run: a bar with the time left, and a line an epoch."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn

from training.fit.history import EpochRecord
from training.fit.recipe import Recipe, Stage


class TrainingDisplay:
    """Shows progress on a terminal as a bar, elsewhere as a line an epoch. Use as a context manager.

    Args:
        recipe: what is being trained.
        history: epochs that are done already, when a run goes on.
        console: where to write.
    """

    def __init__(self, recipe: Recipe, history: list[EpochRecord], console: Console) -> None:
        self._recipe, self._console = recipe, console
        self._records = list(history)
        self._live = console.is_terminal
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("{task.fields[left]}"),
            console=console,
            disable=not self._live,
            transient=True,
        )
        self._task: TaskID | None = None

    def __enter__(self) -> TrainingDisplay:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def step(self, done: int, total: int) -> None:
        """One training step was made, the ``done``-th of ``total`` in this epoch."""
        if not self._live:
            return
        if self._task is None:
            epochs = sum(stage.epochs for stage in self._recipe.stages)
            self._task = self._progress.add_task(
                f"epoch {len(self._records) + 1}/{epochs}", total=total, left=self._time_left()
            )
        self._progress.update(self._task, completed=done)

    def epoch(self, record: EpochRecord) -> None:
        """An epoch is complete."""
        self._records.append(record)
        if self._task is not None:
            self._progress.remove_task(self._task)
            self._task = None
        self._console.print(self.line(record), markup=False, highlight=False, soft_wrap=True)

    def line(self, record: EpochRecord) -> str:
        """One epoch in words."""
        stage = self._recipe.stages[record.stage]
        return (
            f"stage {record.stage + 1}/{len(self._recipe.stages)} ({record.depths.replace(' ', ',')} at "
            f"{record.input_size} px) epoch {record.epoch + 1}/{stage.epochs}: training loss {record.label_loss:.3f} "
            f"accuracy {100 * record.accuracy:.1f} %, validation loss {record.valid_loss:.3f} accuracy "
            f"{100 * record.valid_accuracy:.1f} %, {record.seconds:.0f} s{self._time_left(', ')}"
        )

    def _time_left(self, before: str = "") -> str:
        """How long the rest takes, if pictures go on costing what the last epoch's cost."""
        if not self._records:
            return ""
        last = self._records[-1]
        stage = self._recipe.stages[last.stage]
        left = sum(work(later) for later in self._recipe.stages[last.stage + 1 :])
        left += work(stage) * (stage.epochs - last.epoch - 1) / stage.epochs
        minutes = round(left / (work(stage) / stage.epochs) * last.seconds / 60)
        return f"{before}about {minutes // 60} h {minutes % 60:02d} min left" if minutes else ""


def work(stage: Stage) -> float:
    """Relative cost of a stage, from measured speeds: proportional to pixels; full depth costs 2.5 shallow ones."""
    return stage.epochs * stage.input_size**2 * (1 + 1.5 * (sum(stage.depths) - 4) / 12)
