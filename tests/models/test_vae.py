import pytest
import torch
from torch.distributions import Normal, kl_divergence

from vidence.errors import SpecError
from vidence.models.vae import VAE, VAENetwork


def network(**settings: float) -> VAENetwork:
    torch.manual_seed(0)
    return VAE(size=32, latent=5, **settings).network().eval()  # type: ignore[arg-type]


def test_the_distance_is_the_divergence_from_the_prior() -> None:
    held, x = network(), torch.rand(2, 3, 4, 32, 32)
    mean, log_variance = held.encoder(x.movedim(2, 1).flatten(0, 1)).reshape(2, 4, 10).chunk(2, dim=-1)
    wanted = kl_divergence(Normal(mean, (log_variance / 2).exp()), Normal(0.0, 1.0)).sum(-1)
    torch.testing.assert_close(held(x).distance, wanted, rtol=1e-4, atol=1e-5)


def test_eval_takes_the_mean_and_training_draws() -> None:
    held, x = network(), torch.rand(1, 3, 2, 32, 32)
    wanted = held.decoder(held.embed(x)[0]).movedim(0, 1)[None]
    assert torch.equal(held(x).x_hat, wanted)
    assert torch.equal(held(x).code, held.embed(x))
    held.train()
    assert not torch.equal(held(x).x_hat, held(x).x_hat)


def test_the_penalty_is_the_divergence_per_value_weighted() -> None:
    x = torch.rand(2, 3, 4, 32, 32)
    held = network(beta=2.0)
    output = held(x)
    torch.testing.assert_close(held.penalty(output, x), 2 * output.distance.mean() / (3 * 32 * 32))
    assert network(beta=0.0).penalty(output, x) == 0


def test_a_second_meaning_of_distance_and_odd_sizes_are_refused() -> None:
    for wrong in ({"svdd": "joint"}, {"size": 40}, {"latent": 0}, {"beta": -1.0}):
        with pytest.raises(SpecError):
            VAE(**wrong)  # type: ignore[arg-type]
