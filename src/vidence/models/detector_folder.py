"""A detector's folder: `model.safetensors` (the whole network) and `detector.json` (everything else, readable).

Both are written aside and then renamed, the JSON last. It names the digest of the weights, so that two files of
different trainings are never taken for one detector.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Container, Mapping
from pathlib import Path
from typing import Any

import safetensors.torch
from safetensors import SafetensorError
from torch import Tensor, nn

from vidence.aside import written_aside
from vidence.errors import SpecError, WeightsError
from vidence.spec import parse

SCHEMA = 1
WEIGHTS_FILE = "model.safetensors"
FACTS_FILE = "detector.json"
_FIELDS: dict[str, type | tuple[type, ...]] = {
    "schema": int,
    "detector": str,
    "backbone": dict,
    "classes": list,
    "normal": list,
    "preprocessing": dict,
    "threshold": (dict, type(None)),
    "facts": dict,
    "weights": str,
}


def serialised(network: nn.Module) -> bytes:
    """The network's state as the bytes of a safetensors file: equal states give equal bytes, on any device."""
    state = {name: tensor.detach().cpu().contiguous() for name, tensor in network.state_dict().items()}
    return safetensors.torch.save(state)


def state_digest(network: nn.Module) -> str:
    """SHA-256 of `serialised`: what the file of these weights has, or would have."""
    return hashlib.sha256(serialised(network)).hexdigest()


def write_detector(folder: str | Path, network: nn.Module, described: Mapping[str, Any]) -> str:
    """Write both files; `described` is the JSON without schema and weights. Returns the digest of the weights."""
    place = Path(folder)
    weights = serialised(network)
    digest = hashlib.sha256(weights).hexdigest()
    payload = {"schema": SCHEMA, **described, "weights": digest}
    try:
        text = json.dumps(payload, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    except (TypeError, ValueError) as error:
        raise WeightsError(
            f"what is saved with a detector must be plain finite JSON values; {error}. "
            "Turn arrays into lists and leave out figures that are not numbers."
        ) from error
    with written_aside(place / FACTS_FILE) as facts_part, written_aside(place / WEIGHTS_FILE) as weights_part:
        weights_part.write_bytes(weights)  # the inner block ends first: weights are renamed before the JSON
        facts_part.write_text(text, encoding="utf-8")
    return digest


def read_facts(folder: str | Path, *, known: Container[str]) -> dict[str, Any]:
    """Read and check `detector.json`; `known` are the detectors' keys. Raises `WeightsError`."""
    place = Path(folder)
    file = place / FACTS_FILE
    if not file.is_file():
        raise WeightsError(
            f"a detector is a folder with {FACTS_FILE} and {WEIGHTS_FILE}; {place} has no {FACTS_FILE}. "
            "Pass the folder that `vidence train --out` wrote."
        )
    try:
        facts = json.loads(file.read_bytes())
    except (OSError, ValueError) as error:
        raise WeightsError(
            f"{file} must be JSON; it cannot be read ({error}). Copy it again from where it was written."
        ) from error
    problem = _problem(facts)
    if problem is not None:
        raise WeightsError(f"{file} {problem}. Copy it again from where it was written, or train again.")
    try:
        key = parse(facts["detector"]).key
    except SpecError as error:
        raise WeightsError(f"{file} must hold a spec line under 'detector': {error}") from error
    if key not in known:
        raise WeightsError(
            f"{file} is of the detector {key!r}, which this version of vidence does not have. Update vidence."
        )
    return facts


def add_fact(folder: str | Path, name: str, value: Any) -> None:
    """Write one fact into `detector.json`, in place of an older one of its name; all else stays as it is."""
    file = Path(folder) / FACTS_FILE
    held = json.loads(file.read_bytes())
    held["facts"] = {**held["facts"], name: value}
    text = json.dumps(held, indent=2, allow_nan=False, ensure_ascii=False) + "\n"
    with written_aside(file) as aside:
        aside.write_text(text, encoding="utf-8")


def _problem(facts: Any) -> str | None:
    """What is wrong with the JSON, or None."""
    if not isinstance(facts, dict):
        return f"must hold an object; it holds a {type(facts).__name__}"
    if facts.get("schema") != SCHEMA:
        return f"must be of schema {SCHEMA}; it says {facts.get('schema')!r}, so another version of vidence wrote it"
    for name, kind in _FIELDS.items():
        if name not in facts:
            return f"lacks the entry {name!r}"
        if not isinstance(facts[name], kind):
            return f"has an entry {name!r} of the wrong type, {type(facts[name]).__name__}"
    classes, normal = facts["classes"], facts["normal"]
    if not all(isinstance(name, str) for name in classes) or len(set(classes)) != len(classes):
        return f"must list different class names; got {classes!r}"
    if not set(map(str, normal)) <= set(classes):
        return f"must name normal classes out of {', '.join(classes)}; got {normal!r}"
    if facts["threshold"] is not None and not _finite(facts["threshold"].get("value")):
        return f"must give the threshold a finite 'value'; got {facts['threshold']!r}"
    return None


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and math.isfinite(value)


def read_state(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file; anything else, a renamed pickle above all, raises `WeightsError`."""
    if not path.is_file():
        raise WeightsError(f"the weights {path} must be a file; there is none. Check the path.")
    with path.open("rb") as file:
        start = file.read(9)
    pickled = start.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05"))
    if pickled and start[8:] != b"{":  # safetensors: the header's length, of 8 bytes that may be any, then JSON
        raise WeightsError(
            f"{path.name} must be a safetensors file; it is a pickle under another name, which could run code when "
            "opened. Pass the .safetensors file, or the .pth as torchvision publishes it, unchanged."
        )
    try:
        return safetensors.torch.load_file(path)
    except (SafetensorError, OSError, ValueError) as error:
        raise WeightsError(
            f"{path} must be a whole safetensors file; it cannot be read ({error}). "
            "It is cut short or something else: copy or fetch it again."
        ) from error


def fill(network: nn.Module, state: Mapping[str, Tensor], *, name: str) -> None:
    """Load `state` into the network, key by key; `name` is the file's, for the message. Raises `WeightsError`."""
    wanted = network.state_dict()
    missing, extra = sorted(wanted.keys() - state.keys()), sorted(state.keys() - wanted.keys())
    if missing or extra:
        what = f"lacks {_some(missing)}" if missing else f"has {_some(extra)}, which the network does not"
        raise WeightsError(
            f"{name} must hold exactly the {len(wanted)} tensors of this network; it {what}. "
            "Pass the file that belongs to this backbone and these settings."
        )
    for key, tensor in wanted.items():
        if tensor.shape != state[key].shape or tensor.is_floating_point() != state[key].is_floating_point():
            raise WeightsError(
                f"{key} in {name} must be {tensor.dtype} {tuple(tensor.shape)}; got {state[key].dtype} "
                f"{tuple(state[key].shape)}. Pass the file that belongs to this backbone and these settings."
            )
        if not state[key].isfinite().all():
            raise WeightsError(
                f"{key} in {name} must be finite; it holds NaN or infinity. "
                "The training diverged, or the file is damaged: train again, or copy it again."
            )
    network.load_state_dict(dict(state))


def _some(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def fill_from_folder(network: nn.Module, folder: str | Path, facts: Mapping[str, Any]) -> None:
    """Load a folder's weights, whose digest must be the one that `facts` names."""
    path = Path(folder) / WEIGHTS_FILE
    state = read_state(path)
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if found != facts["weights"]:
        raise WeightsError(
            f"{path} must have the SHA-256 {facts['weights']} that {FACTS_FILE} names; it has {found}. The two files "
            "are of different trainings, or one was changed: copy the whole folder again."
        )
    fill(network, state, name=str(path))
