"""Canonical JSON against the vectors of RFC 8785, digests against hashlib, source names against what must stay out."""

import hashlib
import json
import math
import struct
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from vidence.errors import StoreError
from vidence.record.provenance import canonical, digest, file_digest, source_name

NUMBERS = [  # RFC 8785, appendix B
    ("0000000000000000", "0"),
    ("8000000000000000", "0"),
    ("0000000000000001", "5e-324"),
    ("8000000000000001", "-5e-324"),
    ("7fefffffffffffff", "1.7976931348623157e+308"),
    ("4340000000000000", "9007199254740992"),
    ("4430000000000000", "295147905179352830000"),
    ("44b52d02c7e14af5", "9.999999999999997e+22"),
    ("44b52d02c7e14af6", "1e+23"),
    ("444b1ae4d6e2ef4e", "999999999999999700000"),
    ("444b1ae4d6e2ef50", "1e+21"),
    ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
    ("3eb0c6f7a0b5ed8d", "0.000001"),
    ("41b3de4355555555", "333333333.3333333"),
    ("becbf647612f3696", "-0.0000033333333333333333"),
    ("43143ff3c1cb0959", "1424953923781206.2"),
]


@pytest.mark.parametrize(("bits", "text"), NUMBERS)
def test_numbers_are_written_as_the_standard_says(bits: str, text: str) -> None:
    value = struct.unpack(">d", bytes.fromhex(bits))[0]
    assert canonical(value).decode() == text


def test_the_standards_example() -> None:
    payload = {
        "numbers": [333333333.33333329, 1e30, 4.50, 2e-3, 0.000000000000000000000000001],
        "string": "\u20ac$\u000f\u000aA'\u0042\u0022\u005c\\\"/",
        "literals": [None, True, False],
    }
    wanted = (
        '{"literals":[null,true,false],"numbers":[333333333.3333333,1e+30,4.5,0.002,1e-27],'
        '"string":"\u20ac$\\u000f\\nA\'B\\"\\\\\\\\\\"/"}'
    )
    assert canonical(payload).decode() == wanted


def test_keys_are_sorted_by_utf16_units() -> None:
    keys = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    assert list(json.loads(canonical(dict.fromkeys(keys)))) == [
        "\r", "1", "\u0080", "\u00f6", "\u20ac", "\U0001f600", "\ufb33",
    ]  # fmt: skip


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_reads_back_as_itself(value: float) -> None:
    assert float(canonical(value)) == value


plain_values = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53) + 1, 2**53 - 1) | st.text() | st.floats(-1e9, 1e9),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(plain_values)
def test_reading_and_writing_again_changes_nothing(payload: object) -> None:
    assert canonical(json.loads(canonical(payload))) == canonical(payload)


def test_equal_numbers_and_any_order_of_keys_give_one_digest() -> None:
    assert digest({"a": 1.0, "b": [2]}) == digest({"b": (2.0,), "a": 1})
    assert digest({"a": 1.5}) == hashlib.sha256(b'{"a":1.5}').hexdigest()
    assert digest({"a": np.float64(0.1)}) == digest({"a": 0.1})


@pytest.mark.parametrize(
    ("payload", "said"),
    [
        ({"a": [0.0, math.nan]}, r"payload.a\[1\] must be a finite number; got nan"),
        (math.inf, "finite"),
        (2**53, "2\\*\\*53"),
        ({1: 2}, "text keys; got 1"),
        ({"a": np.float32(1)}, "must be plain .* got float32"),
        (np.zeros(2), "ndarray"),
        (b"x", "bytes"),
        ({"a"}, "set"),
        ("\udcff", "UTF-8"),
    ],
)
def test_what_has_no_canonical_form_is_refused(payload: object, said: str) -> None:
    with pytest.raises(StoreError, match=said):
        canonical(payload)


def test_file_digest(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(b"abc" * 100_000)
    assert file_digest(tmp_path / "a") == hashlib.sha256(b"abc" * 100_000).hexdigest()


@pytest.mark.parametrize(
    ("given_name", "kept"),
    [
        ("/home/anna/video.mp4", "video.mp4"),
        ("C:\\Users\\anna\\video.mp4", "video.mp4"),
        ("frames/", "frames"),
        ("rtsp://anna:secret@10.0.0.7:554/cam/3?token=x#y", "3"),
        ("rtsp://anna:secret@10.0.0.7", "10.0.0.7"),
        ("bad\udcff.mp4", "bad\\udcff.mp4"),
        ("/", "unnamed"),
    ],
)
def test_a_source_name_holds_no_folder_and_no_secret(given_name: str, kept: str) -> None:
    assert source_name(given_name) == kept
