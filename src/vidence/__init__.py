"""Vidence finds anomalies in video and images, and shows its evidence.

``load_detector``, ``open_source`` and ``explain`` are resolved when first used (PEP 562), so that importing the
package loads neither torch nor a video library.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from vidence.version import __version__

if TYPE_CHECKING:
    from vidence.frames.source import open_source
    from vidence.models.detector import load_detector
    from vidence.pipeline import explain

_HOMES = {
    "explain": "vidence.pipeline",
    "load_detector": "vidence.models.detector",
    "open_source": "vidence.frames.source",
}

__all__ = ["__version__", "explain", "load_detector", "open_source"]


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        return getattr(import_module(_HOMES[name]), name)
    raise AttributeError(f"module 'vidence' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted(__all__)
