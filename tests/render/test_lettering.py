import numpy as np

from vidence.render.lettering import INK, blank, fitting, number, shortened, text_width, write


def test_number_has_three_digits():
    assert [number(v) for v in (0, 0.123456, -12.3456, 1.0, 1234567.0)] == ["0", "0.123", "−12.3", "1", "1.23e+06"]


def test_shortened_fits_and_keeps_the_end():
    name = "a/very/long/way/to/some/surveillance/camera_04_20260101.mp4"
    for width in (60, 120, 300):
        short = shortened(name, width, 13)
        assert text_width(short, 13) <= width
        assert "…" in short
        assert short.endswith(name[-1])
    assert shortened(name, 2000, 13) == name
    assert shortened("", 10, 13) == ""


def test_fitting_takes_the_first_that_fits():
    assert fitting(["a long wording indeed", "short"], 60, 12) == "short"
    assert fitting(["a", "b"], 60, 12) == "a"
    assert fitting(["too long to fit"], 5, 12) == ""


def test_write_stays_inside_and_leaves_the_rest():
    picture = blank(40, 200)
    untouched = picture.copy()
    write(picture, (10, 20), "Überfall – 7.48 s", size=14)
    changed = (picture != untouched).any(axis=-1)
    assert changed.any()
    assert not changed[:, :8].any()
    assert np.abs(picture.astype(int) - INK).sum(axis=-1).min() < 40
    for at in ((-500, 20), (10, -300), (500, 20), (195, 20), (-5, 2)):
        write(picture, at, "cut at the edge", size=14)  # must not raise
    assert picture.shape == (40, 200, 3)
