"""What commands over many sources share: one after the other, a failing one reported and the rest still done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from vidence.aside import make_folder
from vidence.attribution.progress import Listener
from vidence.errors import ExplainError, ShapeError, SourceError
from vidence.explained_source import Reasons, write_down
from vidence.frames.footage import videos_at
from vidence.frames.source import Source, open_source
from vidence.models.detector import Detector
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
    then the exit code is 1. What is wrong with settings, store or disk ends the command, and so does Ctrl-C, which says
    what is whole.
    """
    names = _named(sources)
    done: list[str] = []
    bars = Bars()
    with bars.progress:
        for name in names:
            try:
                source = open_source(name, fps=fps)
                do(source, bars)
            except (SourceError, ShapeError, ExplainError) as error:
                click.echo(f"Error: {error}", err=True)
                continue
            except KeyboardInterrupt:
                raise KeyboardInterrupt(
                    f"Stopped in {name}. Whole are {len(done)} of {len(names)} sources{': ' * bool(done)}"
                    f"{', '.join(done)}. The same command does the others."
                ) from None
            done.append(name)
            for note in source.notes:
                click.echo(f"note: {name}: {note}", err=True)
    failed = len(names) - len(done)
    if failed:
        rest = "; the others are done" if done else ""
        click.echo(f"{failed} of {len(names)} sources failed{rest}.", err=True)
        raise SystemExit(1)


def _named(sources: Sequence[str]) -> list[str]:
    """The videos of each folder of videos, and every other source as it is; each of them once, which is told."""
    named: dict[Path, str] = {}
    for given in sources:
        for name in _videos(given) or [given]:
            place = Path(name).resolve()
            if place in named:
                click.echo(f"note: {name} was given twice; it is done once.", err=True)
            named.setdefault(place, name)
    return list(named.values())


def _videos(given: str) -> list[str]:
    try:
        return [str(video) for video in videos_at(given)] if given else []
    except OSError:
        return []  # opening it says why


class Records:
    """The store in a folder of results. A new one is begun by its first record: a run that fails leaves none behind.

    One that is there is opened at once, so that a damaged or foreign file ends the command before any work.
    """

    def __init__(self, out: Path, key: bytes | None) -> None:
        self.out, self._key = out, key
        self._path = out / "records.db"
        self._held = self._opened() if self._path.exists() else None

    @property
    def store(self) -> Store:
        """The store, made where there is none."""
        self._held = self._held or self._opened()
        return self._held

    def keep(self, detector: Detector, folder: Path, source: Source, judged: Judgement, reasons: Reasons) -> list[str]:
        """Draw and record one source; returns the records' ids. Where things lie here is kept beside them."""
        place = {"source": str(Path(source.name).resolve()), "detector": str(folder.resolve())}
        made = write_down(detector, source, judged, reasons, out=self.out)
        return [self.store.append(each, place=place) for each in made]

    def tell(self) -> None:
        """Print where the records lie, how many rows there are, and the digest that stands for them."""
        if self._held is not None:
            count, head = self._held.head()
            click.echo(f"records  {self._path}: {count} rows, head {head}")

    def _opened(self) -> Store:
        return Store.open(self._path, self._key, create=True)


@contextmanager
def results_in(out: Path) -> Iterator[None]:
    """A folder for results, tried before any work; one that was made here and stays empty goes again."""
    made = not out.exists()
    make_folder(out)
    try:
        yield
    finally:
        if made and not any(out.iterdir()):
            out.rmdir()
