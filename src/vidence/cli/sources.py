"""What commands over many sources share: one after the other, a failing one reported and the rest still done."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from vidence.attribution.progress import Listener
from vidence.errors import ExplainError, ShapeError, SourceError
from vidence.frames.source import Source, open_source
from vidence.models.detector import Detector
from vidence.pipeline import Reasons, write_down
from vidence.record.store import Store
from vidence.scoring.run import Judgement


@dataclass
class Bars:
    """Progress on stderr, in seconds of video scored and windows explained."""

    progress: Progress = field(
        default_factory=lambda: Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            TextColumn("{task.completed:.0f} of {task.total:.0f} {task.fields[unit]}"),
            TimeElapsedColumn(),
            TimeRemainingColumn(),
            console=Console(stderr=True),
            transient=True,
        )
    )

    def add(self, what: str, total: float, unit: str) -> TaskID:
        """A new bar."""
        return self.progress.add_task(what, total=max(total, 1), unit=unit)

    def steps(self, task: TaskID, what: str) -> Listener:
        """Shows, beside the bar of `task`, how far one long explanation has come."""

        def show(label: str, done: int, total: int) -> None:
            told = f"{what} ({label} {done}/{total})" if done < total else what
            self.progress.update(task, description=told)

        return show


def over(sources: Sequence[str], do: Callable[[Source, Bars], None], *, fps: float | None) -> None:
    """Call `do` for every source. What cannot be read, or does not suit detector or explainer, is reported on stderr;
    then the exit code is 1. What is wrong with settings, store or disk ends the command.
    """
    failed = 0
    bars = Bars()
    with bars.progress:
        for name in sources:
            try:
                source = open_source(name, fps=fps)
                do(source, bars)
            except (SourceError, ShapeError, ExplainError) as error:
                failed += 1
                click.echo(f"Error: {error}", err=True)
                continue
            for note in source.notes:
                click.echo(f"note: {name}: {note}", err=True)
    if failed:
        rest = "; the others are done" if failed < len(sources) else ""
        click.echo(f"{failed} of {len(sources)} sources failed{rest}.", err=True)
        raise SystemExit(1)


def keep(
    store: Store, detector: Detector, folder: Path, source: Source, judged: Judgement, reasons: Reasons, out: Path
) -> list[str]:
    """Draw and record one source; returns the records' ids. Where things lie on this machine is kept beside them."""
    place = {"source": str(Path(source.name).resolve()), "detector": str(folder.resolve())}
    return [store.append(each, place=place) for each in write_down(detector, source, judged, reasons, out=out)]
