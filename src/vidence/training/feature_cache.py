"""What a frozen backbone makes of each window, kept on disk and memory-mapped.

An entry is named by a digest of everything it depends on: the backbone's weights, the preprocessing, the windows,
the view, the arithmetic and the source's bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float
from torch import Tensor

from vidence.datasets.dataset import Sample
from vidence.errors import DataError
from vidence.frames.clip import Clip
from vidence.frames.transforms import Fit
from vidence.frames.windows import Windows
from vidence.models.device import CPU, native_bf16
from vidence.training.entry_store import Entry, EntryStore, side_by_side
from vidence.training.views import PLAIN, View
from vidence.version import __version__

Precision = Literal["auto", "bf16", "float32"]
FRAMES_AT_ONCE = 16  # of one source: few enough to stay in the processor's cache


@dataclass(frozen=True, eq=False)
class FeatureCache:
    """Entries of sources under `folder` (None: nothing is kept).

    `encode` maps x (1, c, t, h, w) to (1, t, ...) frame by frame; None keeps the pixels, uint8 (w, t, c, h, w).
    `identity` names the weights. `device` is where it computes. `precision`: 'auto' is bf16 where that
    multiplies it natively; such features are stored as float16, whose mantissa holds every bit of bf16's.
    """

    folder: Path | None
    encode: Callable[[Tensor], Tensor] | None
    identity: str
    fit: Fit
    windows: Windows
    precision: Precision = "auto"
    device: torch.device = CPU

    def entries(
        self, samples: Sequence[Sample], view: View = PLAIN, *, step: Callable[[], None] = lambda: None
    ) -> list[Entry]:
        """One entry per sample, in order; `step` is called after each."""
        return side_by_side(partial(self.entry, view=view), samples, step=step)

    def entry(self, sample: Sample, view: View = PLAIN) -> Entry:
        """The sample's windows, read if whole, made otherwise. Raises `DataError` for a source without frames."""
        source = sample.open()
        name = self.key(source.digest if sample.fps is None else f"{source.digest} {sample.fps}", view)
        store = None if self.folder is None else EntryStore(self.folder)
        found = None if store is None else store.read(name)
        if found is not None:
            return found
        x, times = self._encoded(view.clip(clip) for clip in self.windows.cut(view.frames(source)))
        if not len(x):
            raise DataError(f"every source must hold a window of frames; {sample.path} holds none. Leave it out.")
        made = Entry(x, times)
        return made if store is None else store.write(name, [made])

    def key(self, source: str, view: View) -> str:
        """SHA-256 of all that decides an entry's content; `source` is the digest of the file, and its given rate."""
        facts: dict[str, Any] = {
            "vidence": __version__,
            "source": source,
            "weights": "pixels" if self.encode is None else self.identity,
            "fit": asdict(self.fit),
            "windows": asdict(self.windows),
            "view": asdict(view),
            "precision": "uint8" if self.encode is None else ("bf16" if self._bf16 else "float32"),
        }
        return hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()

    @property
    def _bf16(self) -> bool:
        if self.precision != "auto":
            return self.precision == "bf16"
        return native_bf16(self.device)

    def _encoded(self, clips: Iterable[Clip]) -> tuple[np.ndarray, Float[np.ndarray, "w t"]]:
        """Windows (w, t, ...) and their times. A frame that an earlier window held is not encoded again."""
        places: dict[bytes, int] = {}
        index: list[list[int]] = []
        times: list[tuple[float, ...]] = []
        fresh: list[Clip] = []
        done: list[np.ndarray] = []
        for clip in clips:
            names = [hashlib.blake2b(pixels.tobytes(), digest_size=16).digest() for pixels in clip.pixels]
            for column, name in enumerate(names):
                if name not in places:
                    places[name] = len(places)
                    fresh.append(_single(clip, column))
            index.append([places[name] for name in names])
            times.append(clip.times)
            while len(fresh) >= FRAMES_AT_ONCE:
                done.append(self._run(fresh[:FRAMES_AT_ONCE]))
                fresh = fresh[FRAMES_AT_ONCE:]
        if fresh:
            done.append(self._run(fresh))
        return (np.concatenate(done)[index] if done else np.zeros(0)), np.array(times, dtype=np.float64)

    def _run(self, frames: Sequence[Clip]) -> np.ndarray:
        x = torch.cat([self.fit(frame) for frame in frames], dim=2)  # (1, c, t, h, w)
        return self._pixels(x) if self.encode is None else self._features(x)

    def _pixels(self, x: Float[Tensor, "1 c t h w"]) -> np.ndarray:
        return (x[0] * 255).round().to(torch.uint8).permute(1, 0, 2, 3).numpy()  # (t, c, h, w)

    def _features(self, x: Float[Tensor, "1 c t h w"]) -> np.ndarray:
        folded = x[0].permute(1, 0, 2, 3).to(self.device).contiguous(memory_format=torch.channels_last)
        x = folded.permute(1, 0, 2, 3)[None]  # a view: unfolding it again keeps channels last
        with torch.inference_mode(), torch.autocast(self.device.type, torch.bfloat16, enabled=self._bf16):
            features = self.encode(x)[0].float().cpu().numpy()  # type: ignore[misc]
        half = self._bf16 and np.abs(features).max() < np.finfo(np.float16).max
        return features.astype(np.float16) if half else features


def _single(clip: Clip, column: int) -> Clip:
    ref = clip.ref
    times = (ref.times[column],)
    return Clip(type(ref)(ref.source, ref.digest, ref.first, times), clip.pixels[column : column + 1])
