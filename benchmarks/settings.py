"""What holds for a whole run and every peer in it."""

from __future__ import annotations

from dataclasses import dataclass

DTYPES = ("float32", "float64", "float16", "bfloat16")
PRECISIONS = ("highest", "high", "medium")


@dataclass(frozen=True)
class Settings:
    """Dtype of every array, fastconv's precision word, and the threads that everyone gets."""

    dtype: str = "float32"
    precision: str = "highest"
    threads: int = 1
