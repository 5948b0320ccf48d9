"""Progress: told to whoever listens, and nothing is left behind when a loop is broken off."""

import pytest
import torch

from vidence.attribution.perturb.rise import RISE
from vidence.attribution.progress import counted, heard_by
from vidence.scoring.scores import Logit
from zoo import Volume, made


def test_every_step_is_heard():
    heard = []
    with heard_by(lambda *told: heard.append(told)):
        assert list(counted("abc", label="letters")) == ["a", "b", "c"]
    assert heard == [("letters", 1, 3), ("letters", 2, 3), ("letters", 3, 3)]
    assert list(counted("ab", label="letters")) == ["a", "b"]
    assert len(heard) == 3


def test_a_long_explanation_tells_its_rows():
    heard = []
    with heard_by(lambda *told: heard.append(told)):
        RISE(n=6, chunk=2)(made(Volume), torch.rand(1, 3, 5, 14, 12), Logit(0))
    assert [told[1:] for told in heard] == [(1, 3), (2, 3), (3, 3)]


def test_a_listener_that_fails_stops_the_work():
    def fail(*told):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), heard_by(fail):
        list(counted("ab", label="letters"))
    assert list(counted("ab", label="letters")) == ["a", "b"]
