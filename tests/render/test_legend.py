import numpy as np
import pytest

from vidence.render import RENDERERS
from vidence.render.legend import legend
from vidence.render.lettering import GROUND
from vidence.render.ramp import AGAINST, TOWARDS


def nearest(picture, ink):
    return np.abs(picture.astype(int) - ink).max(axis=-1).min()


@pytest.mark.parametrize("key", sorted(RENDERERS))
@pytest.mark.parametrize("width", [300, 900])
def test_it_has_the_asked_size_and_the_renderers_colours(key, width):
    row = legend(RENDERERS[key](), 0.034, width=width, height=34, signed=True)
    assert row.shape == (34, width, 3)
    assert (row != legend(RENDERERS[key](), 0.034, width=width, height=34)).any()


def test_the_bar_shows_the_colours_of_the_peak_in_both_directions():
    row = legend(RENDERERS["heatmap"](alpha=1.0), 2.0, width=600, height=34, signed=True)
    assert nearest(row, TOWARDS[-1]) <= 2
    assert nearest(row, AGAINST[-1]) <= 2
    positive = legend(RENDERERS["heatmap"](alpha=1.0), 2.0, width=600, height=34)
    assert nearest(positive, AGAINST[128]) > 30


def test_an_empty_map_says_so_without_a_bar():
    row = legend(RENDERERS["heatmap"](alpha=1.0), 0.0, width=600, height=34)
    assert nearest(row, TOWARDS[-1]) > 30
    assert (row != GROUND).any()


def test_raw_values_are_left_out_where_frames_have_scales_of_their_own():
    one, other = (legend(RENDERERS["heatmap"](scope="frame"), peak, width=600, height=34) for peak in (1.0, 5.0))
    assert np.array_equal(one, other)
    one, other = (legend(RENDERERS["heatmap"](), peak, width=600, height=34) for peak in (1.0, 5.0))
    assert not np.array_equal(one, other)
