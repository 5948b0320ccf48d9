"""The few errors a caller may want to catch. One form: what must hold, what came, what to do."""

from __future__ import annotations

from importlib import import_module
from types import ModuleType


class VidenceError(Exception):
    """Marks errors that the command line prints as one message, without a traceback."""


class SourceError(VidenceError, OSError):
    """A video, image or folder cannot be read."""


class ShapeError(VidenceError, ValueError):
    """An array has the wrong shape, type or range."""


class SpecError(VidenceError, ValueError):
    """A spec line, a setting or a combination of settings is not valid."""


class WeightsError(VidenceError, ValueError):
    """A file of weights is missing, foreign, damaged or of the wrong shape."""


class DataError(VidenceError, ValueError):
    """A data set lacks what a step needs: labels, classes, groups, enough clips."""


class StoreError(VidenceError, ValueError):
    """A record store is missing, damaged, or does not hold what was asked for."""


class OutputError(VidenceError, OSError):
    """A result cannot be written: the disk is full, or the folder is write-protected."""


class ExplainError(VidenceError, ValueError):
    """An explainer cannot explain this model: it names the layer or the missing part."""


class MissingPackage(VidenceError, ImportError):
    """An optional package is not installed."""


def need(package: str, *, extra: str) -> ModuleType:
    """Import an optional package, or say which extra installs it."""
    try:
        return import_module(package)
    except ImportError as error:
        raise MissingPackage(
            f"this step needs the package {package!r}, which is not installed. "
            f"Install it with: pip install 'vidence[{extra}]'"
        ) from error
