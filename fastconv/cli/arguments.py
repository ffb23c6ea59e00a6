"""What the arguments of several commands have in common: kinds of numbers, and what needs an extra."""

from __future__ import annotations

import argparse
import ast
from importlib import import_module
from typing import Any

EXTRA = 'pip install "fastconv[train]"'


def positive_int(text: str) -> int:
    """Read an integer above 0."""
    value = int(text)
    if value < 1:
        raise argparse.ArgumentTypeError(f"must be at least 1, got {text}")
    return value


def positive_float(text: str) -> float:
    """Read a finite number above 0."""
    value = float(text)
    if not 0 < value < float("inf"):
        raise argparse.ArgumentTypeError(f"must be above 0, got {text}")
    return value


def argument(text: str) -> tuple[str, Any]:
    """Read the name and the value of a function's argument, a Python literal or else a word."""
    name, sign, value = text.partition("=")
    if not sign or not name.isidentifier():
        raise argparse.ArgumentTypeError(f"must be NAME=VALUE, got {text}")
    try:
        return name, ast.literal_eval(value)
    except (ValueError, SyntaxError):
        return name, value


def optional(module: str) -> Any:
    """Import a module of the ``train`` extra; ``None`` where it is not installed."""
    try:
        return import_module(module)
    except ModuleNotFoundError:
        return None
