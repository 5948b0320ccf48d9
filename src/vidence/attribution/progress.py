"""Progress of long explanations: shown by whoever listens, and on a terminal by itself after two seconds."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TypeVar

Item = TypeVar("Item")
Listener = Callable[[str, int, int], None]  # label, steps done, steps in all
PATIENCE_S = 2.0

_LISTENER: ContextVar[Listener | None] = ContextVar("listener", default=None)


@contextmanager
def heard_by(listener: Listener) -> Iterator[None]:
    """Inside, every step of a long explanation is told to `listener(label, done, total)` instead of the terminal."""
    token = _LISTENER.set(listener)
    try:
        yield
    finally:
        _LISTENER.reset(token)


def counted(items: Sequence[Item], *, label: str) -> Iterator[Item]:
    """The items, one after another, each counted when it is done. Breaking off leaves nothing behind."""
    listener, begun, bar = _LISTENER.get(), time.monotonic(), None
    try:
        for done, item in enumerate(items):
            yield item
            if listener is not None:
                listener(label, done + 1, len(items))
            elif bar is not None:
                bar.update(done + 1)
            elif time.monotonic() - begun > PATIENCE_S and sys.stderr.isatty():
                bar = _Bar(label, len(items))
                bar.update(done + 1)
    finally:
        if bar is not None:
            bar.close()


class _Bar:
    """A bar on stderr."""

    def __init__(self, label: str, total: int) -> None:
        from rich.console import Console
        from rich.progress import Progress, TimeRemainingColumn

        columns = (*Progress.get_default_columns()[:-1], TimeRemainingColumn())
        self._progress = Progress(*columns, console=Console(stderr=True), transient=True)
        self._task = self._progress.add_task(label, total=total)
        self._progress.start()

    def update(self, done: int) -> None:
        """Show how many steps are done."""
        self._progress.update(self._task, completed=done)

    def close(self) -> None:
        """Leave the terminal as it was."""
        self._progress.stop()
