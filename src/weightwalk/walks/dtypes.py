"""Names of dtypes, as NumPy and the file format know them."""

from __future__ import annotations

from functools import cache

import numpy as np

# name in a walk -> name in a safetensors header
SAFETENSORS = {
    "float64": "F64",
    "float32": "F32",
    "float16": "F16",
    "bfloat16": "BF16",
    "float8_e4m3fn": "F8_E4M3",
    "float8_e5m2": "F8_E5M2",
    "int64": "I64",
    "int32": "I32",
    "int16": "I16",
    "int8": "I8",
    "uint8": "U8",
    "uint16": "U16",
    "uint32": "U32",
    "uint64": "U64",
    "bool": "BOOL",
    "complex64": "C64",
    "complex128": "C128",
}


@cache
def numpy_dtype(name: str) -> np.dtype:
    """The NumPy dtype of that name; bfloat16 and the 8-bit floats come from ``ml_dtypes``."""
    if name.startswith(("bfloat", "float8")):
        import ml_dtypes

        return np.dtype(getattr(ml_dtypes, name))
    return np.dtype(name)


def is_float(name: str) -> bool:
    """Whether a dtype name is that of real floating-point numbers."""
    return name.startswith(("float", "bfloat"))
