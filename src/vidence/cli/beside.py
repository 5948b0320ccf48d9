"""Explanation in a worker beside the scoring: on a copy of the detector, so that scores cannot be touched."""

from __future__ import annotations

import queue
import threading
import time
from pathlib import Path

import torch

from vidence.explained_source import Reasons
from vidence.frames.clip import Clip
from vidence.models.detector import load_deployed
from vidence.pipeline import default_line

WAITING = 16  # clips that may wait for explanation: bounds memory; a full queue holds the scoring up


class Beside:
    """`asked` is an explainer's line, `alarms` (the detector's default) or `off`; `score` what is explained (None: the
    detector's own).
    """

    def __init__(self, detector: Path, asked: str, score: str | None, *, device: str) -> None:
        self._on = asked != "off"
        self._score = score
        self._model = load_deployed(detector, device=device)
        self._lines = () if not self._on else (default_line(self._model, score) if asked == "alarms" else asked,)
        self.failed: Exception | None = None
        self._dropped = False
        Reasons(self._model, self._lines, score)  # a wrong line is refused before any work

    def start(self) -> Reasons:
        """Begin a source; the maps gather in what is returned, which is complete after `finish`."""
        reasons = Reasons(self._model, self._lines, self._score)
        self._clips: queue.Queue[Clip | None] = queue.Queue(WAITING)
        self._held_s, self.failed, self._dropped = 0.0, None, False
        if self._on:
            self._worker = threading.Thread(target=self._work, args=(self._clips, reasons), daemon=True)
            self._worker.start()
        return reasons

    def put(self, clip: Clip) -> None:
        """Hand over a window to explain."""
        if self._on:
            began = time.perf_counter()
            self._clips.put(clip)
            self._held_s += time.perf_counter() - began

    def drop(self) -> None:
        """Let go of what waits: the source is not finished, so its maps are not needed."""
        self._dropped = True

    def finish(self) -> float:
        """Wait for the worker; returns the seconds that explaining held the scoring up. `failed` is what it raised."""
        if not self._on:
            return 0.0
        began = time.perf_counter()
        self._clips.put(None)
        self._worker.join()
        return self._held_s + time.perf_counter() - began

    def _work(self, clips: queue.Queue[Clip | None], reasons: Reasons) -> None:
        torch.set_num_threads(max(torch.get_num_threads() // 2, 1))  # of this thread: the rest is the scoring's
        while (clip := clips.get()) is not None:
            if self.failed is None and not self._dropped:  # else the rest is only taken off the queue
                try:
                    reasons.add(clip, certify=False)  # hiding frames would hold the scoring up
                except Exception as error:  # raised on the caller's side, once the scores are written
                    self.failed = error
