"""Samples of sources and of their clips, against closed forms and the share of intervals that hold the truth."""

from __future__ import annotations

import numpy as np
import pytest

from vidence.evaluate.bootstrap import RESAMPLES, bounds, draws, interval, means


def films(rng: np.random.Generator, count: int, clips: int) -> tuple[np.ndarray, list[int]]:
    """Clips that share what is their film's, and differ a little."""
    values = rng.normal(1, 1, count)[:, None] + rng.normal(0, 0.3, (count, clips))
    return values.reshape(-1), [film for film in range(count) for _ in range(clips)]


def test_a_clip_a_source_is_the_plain_bootstrap() -> None:
    values = np.random.default_rng(0).normal(size=9)
    plain = values[np.random.default_rng(4).integers(0, 9, (RESAMPLES, 9))].mean(axis=1)
    assert means(values, draws(list("abcdefghi"), seed=4)) == pytest.approx(plain)
    assert interval(values, list("abcdefghi"), seed=4) == pytest.approx((values.mean(), *bounds(plain)))
    assert interval(values, seed=4) == pytest.approx((values.mean(), *bounds(plain)))


def test_whole_sources_come_and_go() -> None:
    counts = draws(["a", "a", "a", "b", "c"], seed=1)
    times = counts[:, :3].sum(axis=1) // 3, counts[:, 3], counts[:, 4]
    assert (counts[:, :3].sum(axis=1) % 3 == 0).all()
    assert (sum(times) == 3).all()
    assert counts.mean(axis=0) == pytest.approx(np.ones(5), abs=0.1)
    assert set(np.unique(counts[:, 0])) >= {0, 1, 2, 3}  # a source's clips are drawn anew too


def test_the_spread_is_that_of_both_stages() -> None:
    values, sources = films(np.random.default_rng(2), 8, 5)
    by_film = values.reshape(8, 5)
    expected = (by_film.mean(axis=1).var() + by_film.var(axis=1).mean() / 5) / 8
    assert means(values, draws(sources, seed=0)).var() == pytest.approx(expected, rel=0.12)


def test_one_source_is_drawn_by_its_clips() -> None:
    values = np.random.default_rng(3).normal(size=12)
    found = means(values, draws(["film"] * 12))
    assert found.var() == pytest.approx(values.var() / 12, rel=0.12)


def test_the_interval_holds_the_mean_as_often_as_it_says_only_by_film() -> None:
    rng = np.random.default_rng(5)
    drawn = [films(rng, 25, 6) for _ in range(150)]
    held = {
        how: np.mean(
            [low <= 1 <= high for values, sources in drawn for _, low, high in [interval(values, by(sources))]]
        )
        for how, by in {"film": lambda sources: sources, "clip": lambda sources: None}.items()
    }
    assert held["film"] == pytest.approx(0.95, abs=0.05)
    assert held["clip"] < 0.75
