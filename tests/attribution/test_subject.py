"""Rows of a clip's variants, chunk by chunk."""

import torch

from linear_clip import Linear
from vidence.attribution import subject as asked
from vidence.attribution.progress import heard_by
from vidence.attribution.subject import Subject
from vidence.scoring.scores import Logit

X = torch.rand(1, 3, 2, 4, 5)


def of(chunk=None):
    return Subject(Linear(torch.ones(2, 4, 5)), X, Logit(0), chunk=chunk)


def test_chunks_cover_all_rows_once_and_are_counted():
    told = []
    with heard_by(lambda label, done, total: told.append((label, done, total))):
        assert list(of(3).chunks(7, label="rows")) == [(0, 3), (3, 6), (6, 7)]
    assert told == [("rows", 1, 3), ("rows", 2, 3), ("rows", 3, 3)]


def test_a_gradient_takes_a_quarter_of_the_rows(monkeypatch):
    monkeypatch.setattr(asked, "PIXELS_AT_ONCE", 8 * X[0, 0].numel())
    assert list(of().chunks(16, label="rows")) == [(0, 8), (8, 16)]
    assert list(of().chunks(4, label="rows", weight=4)) == [(0, 2), (2, 4)]
    assert list(of().chunks(1, label="rows", weight=99)) == [(0, 1)]
