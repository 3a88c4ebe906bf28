"""Counter-based randomness on the device: a hash of numbers, the same everywhere."""

from torch import Tensor


def scrambled(value: Tensor) -> Tensor:
    """Mix the bits of integers, so that numbers next to each other give unlike results.

    Parameters
    ----------
    value : Tensor of int32
        Overwritten.

    Returns
    -------
    Tensor of int32
        All 32 bits look random.

    References
    ----------
    The mixing steps are the finaliser of MurmurHash3 (Appleby); products wrap around.
    """
    for factor, shift in ((0x85EBCA6B - 2**32, 16), (0xC2B2AE35 - 2**32, 13), (1, 16)):
        high = (value >> shift).bitwise_and_((1 << (32 - shift)) - 1)  # no copies of the sign
        value.bitwise_xor_(high)
        if factor != 1:
            value.mul_(factor)
    return value
