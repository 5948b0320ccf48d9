import pytest
import torch
import torch.nn.functional as F

from vidence.errors import SpecError
from vidence.models.ganomaly import GANomaly, GANomalyNetwork


@pytest.fixture
def network() -> GANomalyNetwork:
    torch.manual_seed(0)
    return GANomaly(size=32, latent=6, adversarial=0.1).network().eval()


def frames(x: torch.Tensor) -> torch.Tensor:
    return x.movedim(2, 1).flatten(0, 1)


def test_the_distance_is_between_a_code_and_that_of_its_reconstruction(network: GANomalyNetwork) -> None:
    x = torch.rand(2, 3, 4, 32, 32)
    output = network(x)
    again = network.encoder_again(frames(output.x_hat)).reshape(2, 4, 6)
    torch.testing.assert_close(output.distance, ((network.embed(x) - again) ** 2).sum(-1))


def test_one_step_gives_each_part_the_gradient_of_an_optimiser_of_its_own(network: GANomalyNetwork) -> None:
    x = torch.rand(2, 3, 2, 32, 32)
    names, held = zip(*network.named_parameters(), strict=True)
    output = network(x)
    found = dict(zip(names, torch.autograd.grad(network.penalty(output, x), held), strict=True))
    # the generator's turn: the discriminator is not updated
    output = network(x)
    matching = F.mse_loss(network.discriminator(frames(output.x_hat))[0], network.discriminator(frames(x))[0].detach())
    loss = 0.1 * (matching + (output.distance / 6).mean())  # type: ignore[operator]
    generator = {name: each for name, each in network.named_parameters() if not name.startswith("discriminator")}
    for name, gradient in zip(generator, torch.autograd.grad(loss, list(generator.values())), strict=True):
        torch.testing.assert_close(found[name], gradient, msg=name)
    # the discriminator's turn: the reconstruction is data
    made = network(x).x_hat.detach()
    real = torch.sigmoid(network.discriminator(frames(x))[1])
    fake = torch.sigmoid(network.discriminator(frames(made))[1])
    loss = -0.1 * (real.log().mean() + (1 - fake).log().mean()) / 2
    judge = dict(network.discriminator.named_parameters(prefix="discriminator"))
    for name, gradient in zip(judge, torch.autograd.grad(loss, list(judge.values())), strict=True):
        torch.testing.assert_close(found[name], gradient, msg=name)


def test_the_discriminator_learns_to_tell_and_is_not_asked_when_scoring(network: GANomalyNetwork) -> None:
    x = torch.rand(4, 3, 1, 32, 32)
    optimiser = torch.optim.Adam(network.parameters(), 1e-3)
    for _ in range(15):
        output = network(x)
        optimiser.zero_grad()
        network.penalty(output, x).backward()
        optimiser.step()
    on_real, on_made = (network.discriminator(frames(each))[1].mean() for each in (x, network(x).x_hat))
    assert on_real > on_made
    before = network(x)
    torch.nn.init.zeros_(network.discriminator.head.weight)
    assert torch.equal(network(x).distance, before.distance)


def test_a_second_meaning_of_distance_and_odd_sizes_are_refused() -> None:
    for wrong in ({"svdd": "tuned"}, {"size": 40}, {"latent": 0}, {"adversarial": 0.0}):
        with pytest.raises(SpecError):
            GANomaly(**wrong)  # type: ignore[arg-type]
