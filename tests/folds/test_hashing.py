import torch

from folds.hashing import scrambled
from folds.model.head import dropout_mask


def reference(value):
    """MurmurHash3's finaliser in Python's unbounded integers."""
    for factor, shift in ((0x85EBCA6B, 16), (0xC2B2AE35, 13), (1, 16)):
        value = ((value ^ (value >> shift)) * factor) % 2**32
    return value


def test_is_murmurs_finaliser():
    values = [0, 1, 2, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0x9E3779B1, 123456789]
    signed = torch.tensor(values).to(torch.int32)
    found = (scrambled(signed.clone()).long() & 0xFFFFFFFF).tolist()
    assert found == [reference(value) for value in values]


def test_dropout_is_the_hash_of_image_feature_and_seed():
    rows = torch.tensor([0, 3, 99_999])
    found = dropout_mask(rows, 7, 0.4, seed=2**31 + 5)
    for i, row in enumerate(rows.tolist()):
        for column in range(7):
            start = row * 0x9E3779B1 + column * 0x85EBCA77 + (2**31 + 5) * 0xC2B2AE3D
            kept = reference(start % 2**32) >= int(0.4 * 2**32)
            assert (found[i, column] > 0) == kept
