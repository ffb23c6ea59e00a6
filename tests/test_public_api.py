"""The public API as users meet it: names, signatures, docstrings, examples, and what an import costs."""

import doctest
import importlib
import inspect
import pkgutil
import re
import subprocess
import sys

import pytest

import fastconv

FORMAT = "data_format='channels_first'"
ROUTE = "activation=None, precision=None, algorithm='auto'"
CONV = f"stride=1, padding=0, dilation=1, groups=1, padding_mode='zeros', {FORMAT}, {ROUTE}"
CONV_TRANSPOSE = f"stride=1, padding=0, output_padding=0, dilation=1, groups=1, {FORMAT}, {ROUTE}"
MAX_POOL = "stride=None, padding=0, dilation=1, ceil_mode=False"
AVG_POOL = f"{MAX_POOL}, count_include_pad=True, divisor_override=None, {FORMAT}"
LP_POOL = f"stride=None, padding=0, ceil_mode=False, {FORMAT}"
CONV_GRADIENTS = "b=None, y=None, needs=(True, True, True)"

OF_EACH_RANK = {
    "conv": f"(x, w, b=None, *, {CONV}, out=None)",
    "conv_transpose": f"(x, w, b=None, *, {CONV_TRANSPOSE}, out=None)",
    "max_pool": f"(x, kernel_size, *, {MAX_POOL}, return_indices=False, {FORMAT}, out=None)",
    "avg_pool": f"(x, kernel_size, *, {AVG_POOL}, out=None)",
    "lp_pool": f"(x, p, kernel_size, *, {LP_POOL})",
    "adaptive_max_pool": f"(x, output_size, *, return_indices=False, {FORMAT})",
    "adaptive_avg_pool": f"(x, output_size, *, {FORMAT})",
    "max_unpool": f"(x, indices, kernel_size, *, stride=None, padding=0, output_size=None, {FORMAT})",
}
OF_ANY_RANK = {
    "global_max_pool": f"(x, *, keepdims=False, {FORMAT})",
    "global_avg_pool": f"(x, *, keepdims=False, {FORMAT})",
    "channel_max_pool": f"(x, pool_size, *, stride=None, {FORMAT})",
    "channel_avg_pool": f"(x, pool_size, *, stride=None, {FORMAT})",
}
GRADIENTS_OF_EACH_RANK = {
    "conv": f"(dy, x, w, *, {CONV_GRADIENTS}, {CONV})",
    "conv_transpose": f"(dy, x, w, *, {CONV_GRADIENTS}, {CONV_TRANSPOSE})",
    "max_pool": f"(dy, indices, input_shape, *, {FORMAT})",
    "avg_pool": f"(dy, input_shape, kernel_size, *, {AVG_POOL})",
    "lp_pool": f"(dy, x, y, p, kernel_size, *, {LP_POOL})",
    "adaptive_max_pool": f"(dy, indices, input_shape, *, {FORMAT})",
    "adaptive_avg_pool": f"(dy, input_shape, *, {FORMAT})",
    "max_unpool": f"(dy, indices, input_shape, *, {FORMAT})",
}
GRADIENTS_OF_ANY_RANK = {
    "global_max_pool": f"(dy, x, *, keepdims=False, {FORMAT})",
    "global_avg_pool": f"(dy, input_shape, *, keepdims=False, {FORMAT})",
    "channel_max_pool": f"(dy, x, pool_size, *, stride=None, {FORMAT})",
    "channel_avg_pool": f"(dy, input_shape, pool_size, *, stride=None, {FORMAT})",
}
RUNTIME = {
    "set_num_threads": "(n)",
    "get_num_threads": "()",
    "threads": "(n)",
    "set_precision": "(p)",
    "get_precision": "()",
    "precision": "(p)",
    "explain": "(operation, x_shape, w_shape, *, dtype='float32', **keywords)",
    "config": "()",
    "show_config": "()",
    "clear_cache": "()",
    "cache_info": "()",
}
MODULES = {
    "augment",
    "data",
    "detection",
    "grad",
    "models",
    "nn",
    "optim",
    "pictures",
    "reference",
    "segmentation",
    "signal",
    "studies",
    "training",
    "weights",
}


def _signatures():
    """Yield the dotted name and the signature of every operation."""
    for prefix, of_each_rank, of_any_rank in (
        ("", OF_EACH_RANK, OF_ANY_RANK),
        ("grad.", GRADIENTS_OF_EACH_RANK, GRADIENTS_OF_ANY_RANK),
    ):
        for name, signature in of_each_rank.items():
            for rank in (1, 2, 3):
                yield f"{prefix}{name}{rank}d", signature
        for name, signature in of_any_rank.items():
            yield f"{prefix}{name}", signature


OPERATIONS = dict(_signatures())


def _find(root, dotted_name):
    for name in dotted_name.split("."):
        root = getattr(root, name)
    return root


def _bare_signature(function):
    """Return a function's signature as text, without its annotations."""
    signature = inspect.signature(function)
    parameters = [p.replace(annotation=inspect.Parameter.empty) for p in signature.parameters.values()]
    return str(signature.replace(parameters=parameters, return_annotation=inspect.Signature.empty))


@pytest.mark.parametrize(("name", "signature"), [*OPERATIONS.items(), *RUNTIME.items()])
def test_signature(name, signature):
    assert _bare_signature(_find(fastconv, name)) == signature


@pytest.mark.parametrize("name", OPERATIONS)
def test_reference_has_the_same_signature(name):
    ours, reference = _find(fastconv, name), _find(fastconv.reference, name)
    assert _bare_signature(reference) == _bare_signature(ours)


def test_all_names_the_whole_api():
    functions = {name for name in OPERATIONS if "." not in name} | RUNTIME.keys()
    assert fastconv.__all__ == sorted(fastconv.__all__)
    assert set(fastconv.__all__) == functions | MODULES | {"CacheInfo", "Explanation", "__version__"}
    assert set(fastconv.grad.__all__) == {name.removeprefix("grad.") for name in OPERATIONS if "." in name}


def test_all_can_be_imported_and_is_listed():
    namespace = {}
    exec("from fastconv import *", namespace)
    assert set(fastconv.__all__) <= namespace.keys()
    assert set(fastconv.__all__) <= set(dir(fastconv))
    assert all(inspect.ismodule(namespace[name]) for name in MODULES)


def test_unknown_attribute():
    with pytest.raises(AttributeError, match="module 'fastconv' has no attribute 'conv4d'"):
        _ = fastconv.conv4d


# Docstrings


def _sections(function):
    """Split a docstring at its underlined headings; the summary is under the empty heading."""
    headings = re.split(r"^(\w+)\n-{3,}\n", "\n" + inspect.getdoc(function), flags=re.MULTILINE)
    return dict(zip(["", *headings[1::2]], headings[::2], strict=True))


def _documented_names(section):
    """Return the names at the start of the entries of a section, in order."""
    entries = [line for line in section.splitlines() if line and not line.startswith(" ")]
    return [name.lstrip("*") for entry in entries for name in entry.partition(" : ")[0].split(", ")]


@pytest.mark.parametrize("name", OPERATIONS)
def test_docstring_of_operation(name):
    function = _find(fastconv, name)
    sections = _sections(function)
    assert list(sections) == ["", "Parameters", "Returns", "Raises", "References", "Examples"]
    summary = sections[""].strip().splitlines()[0]
    assert summary.endswith(".") and len(summary) <= 100
    assert _documented_names(sections["Parameters"]) == list(inspect.signature(function).parameters)
    assert {"TypeError", "ValueError"} <= set(_documented_names(sections["Raises"]))
    assert f"fc.{name}(" in sections["Examples"]
    assert not re.search(r"\{\w+\}", function.__doc__), "a placeholder was not filled in"


@pytest.mark.parametrize("name", RUNTIME)
def test_docstring_of_runtime_function(name):
    function = _find(fastconv, name)
    sections = _sections(function)
    parameters = set(inspect.signature(function).parameters)
    assert set(_documented_names(sections.get("Parameters", ""))) == parameters
    assert ("Raises" in sections) == bool(parameters)
    assert ("Returns" in sections) == (name.startswith("get_") or name in ("explain", "config", "cache_info"))
    assert f"fc.{name}(" in sections["Examples"]


def _public_modules():
    found = pkgutil.walk_packages(fastconv.__path__, "fastconv.")
    names = [module.name for module in found if "._" not in module.name]
    return ["fastconv", *names]


@pytest.mark.parametrize("name", _public_modules())
def test_examples_run(name):
    if name.startswith("fastconv.pictures"):
        pytest.importorskip("matplotlib", reason="pictures are drawn by matplotlib, of the extra 'train'")
    results = doctest.testmod(importlib.import_module(name))
    assert results.failed == 0


# What an import costs


def test_import_needs_numpy_alone():
    code = """
import sys, numpy
before = set(sys.modules)
import fastconv
print(*sorted(set(sys.modules) - before))
"""
    command = [sys.executable, "-c", code]
    imported = set(subprocess.run(command, capture_output=True, text=True, check=True).stdout.split())
    ours = {name for name in imported if name.partition(".")[0] == "fastconv"}
    foreign = {name.partition(".")[0] for name in imported - ours} - {"numpy"} - set(sys.stdlib_module_names)
    assert not foreign
    assert not {f"fastconv.{name}" for name in MODULES - {"grad"}} & ours
