"""Names of the arrays that are everywhere; shapes stand in the docstrings that use them."""

import numpy as np
from numpy.typing import NDArray

AnyFloats = NDArray[np.floating]
Bools = NDArray[np.bool_]
Doubles = NDArray[np.float64]
Floats = NDArray[np.float32]
Ints = NDArray[np.int64]
