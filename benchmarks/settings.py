"""What holds for a whole run and every peer in it."""

from __future__ import annotations

from dataclasses import dataclass

DTYPES = ("float32", "float64", "float16", "bfloat16")
PRECISIONS = ("highest", "high", "medium")
DEVICES = ("cpu", "cuda")

CAPS = {
    "scalar": {"ONEDNN_MAX_CPU_ISA": "SSE41", "ATEN_CPU_CAPABILITY": "default"},
    "neon": {"ATEN_CPU_CAPABILITY": "default"},
    "avx2": {"ONEDNN_MAX_CPU_ISA": "AVX2", "ATEN_CPU_CAPABILITY": "avx2"},
    "avx512": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE", "ATEN_CPU_CAPABILITY": "avx512"},
    "amx": {"ONEDNN_MAX_CPU_ISA": "AVX512_CORE_AMX", "ATEN_CPU_CAPABILITY": "avx512"},
}
"""What ``FASTCONV_ISA`` may say, and the variables that hold PyTorch to the same instruction set; its oneDNN
has nothing below SSE4.1."""


@dataclass(frozen=True)
class Settings:
    """Dtype and place of every array, fastconv's precision word, and the threads that everyone gets."""

    dtype: str = "float32"
    precision: str = "highest"
    threads: int = 1
    device: str = "cpu"
