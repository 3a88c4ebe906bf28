import hashlib

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from folds.corruptions import keys_of
from folds.corruptions.keys import numbers_of


def reference(key, name, column):
    """SplitMix64 in Python's unbounded integers."""
    salt = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
    value = ((key % 2**64 ^ salt) + (column + 1) * 0x9E3779B97F4A7C15) % 2**64
    value = (value ^ value >> 30) * 0xBF58476D1CE4E5B9 % 2**64
    value = (value ^ value >> 27) * 0x94D049BB133111EB % 2**64
    return ((value ^ value >> 31) >> 40) / 2**24


@settings(max_examples=50)
@given(st.text(), st.text(max_size=20), st.integers(1, 9))
def test_numbers_are_the_hash_of_id_name_and_column(name, corruption, columns):
    key = int.from_bytes(hashlib.blake2b(name.encode(), digest_size=8).digest(), "little")
    keys = keys_of([name])
    assert keys.dtype == torch.int64
    assert keys.tolist() == [key - 2**64 if key >= 2**63 else key]
    found = numbers_of(keys, corruption, columns)
    assert found.dtype == np.float32
    assert found.tolist() == [[reference(key, corruption, column) for column in range(columns)]]


def test_numbers_are_spread_evenly_and_differ_by_corruption():
    keys = keys_of(f"image{number}" for number in range(4000))
    assert len(set(keys.tolist())) == 4000
    found = numbers_of(keys, "jpeg", 3)
    counts = np.histogram(found, bins=10, range=(0, 1))[0]
    assert abs(counts - 1200).max() < 150
    columns = np.column_stack([found, numbers_of(keys, "stain", 3)])
    correlations = np.corrcoef(columns.T) - np.eye(6)
    assert abs(correlations).max() < 0.07


def test_numpys_names_are_taken_as_they_are():
    assert torch.equal(keys_of(np.array(["a", "bb"])), keys_of(["a", "bb"]))
    assert keys_of([]).shape == (0,)
