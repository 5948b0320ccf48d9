"""Frames as an autoencoder trains on them, fitted once: shared by all fits with the same input."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import torch
from einops import rearrange
from rich.console import Console
from rich.progress import Progress as Bar

from vidence.datasets.dataset import Sample
from vidence.errors import DataError
from vidence.frames.source import Source
from vidence.frames.transforms import Fit
from vidence.frames.windows import Windows
from vidence.models.reconstruction import coloured
from vidence.training.clips import Footage
from vidence.training.entry_store import Entry, EntryStore, side_by_side
from vidence.version import __version__

FRAMES_AT_ONCE = 32


@dataclass(frozen=True)
class FrameCache:
    """Fitted frames below `folder`, uint8 (t, h, w, c): gray for one of `channels`, rounded to 8 bits.

    `rate` in sampled frames per second, None: every frame.
    """

    folder: Path
    fit: Fit
    rate: float | None
    channels: int

    def footage(self, samples: Sequence[Sample], *, step: Callable[[], None] = lambda: None) -> Footage:
        """The samples' frames, in order; `step` is called after each sample."""
        return Footage([entry.x for entry in side_by_side(self.entry, samples, step=step)])

    def footages(self, parts: Sequence[Sequence[Sample]], *, bar: bool = False) -> list[Footage]:
        """Each part's frames; `bar` shows how far it is."""
        with Bar(console=Console(stderr=True), disable=not bar, transient=True) as bars:
            task = bars.add_task("reading frames", total=sum(map(len, parts)))
            return [self.footage(part, step=lambda: bars.advance(task)) for part in parts]

    def entry(self, sample: Sample) -> Entry:
        """The sample's frames, read if whole, made otherwise. Raises `DataError` for a source without frames."""
        source, store = sample.open(), EntryStore(self.folder)
        timed = self.rate is not None and sample.fps is not None  # then the times decide which frames are taken
        name = self.key(f"{source.digest} {sample.fps}" if timed else source.digest)
        found = store.read(name)
        if found is not None:
            return found
        try:
            return store.write(name, self._frames(source))
        except DataError as error:
            raise DataError(f"{sample.path}: {error}") from error

    def key(self, source: str) -> str:
        """SHA-256 of all that decides the frames; `source` is the digest of the file, and its rate if that counts."""
        facts = {
            "vidence": __version__,
            "frames": "uint8",
            "source": source,
            "fit": asdict(self.fit),
            "rate": self.rate,
            "channels": self.channels,
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    def _frames(self, source: Source) -> Iterator[Entry]:
        windows = Windows(length=FRAMES_AT_ONCE, stride=FRAMES_AT_ONCE, rate=self.rate, partial="keep")
        for clip in windows.cut(source):
            x = coloured(self.fit(clip), self.channels)
            pixels = (x[0] * 255).round().to(torch.uint8)
            yield Entry(rearrange(pixels, "c t h w -> t h w c").numpy(), np.array(clip.times))
