"""Layers: the one idea all of this package follows.

A layer is a function together with its derivative. ``vjp(x)`` computes ``y = f(x)`` and returns it with a
*pullback*, the function ``dy -> dx`` that multiplies an upstream gradient by the Jacobian of ``f`` at ``x``
(a vector-Jacobian product) and adds the derivatives by the layer's own parameters into their ``.grad``. What
the pullback needs lives in its closure, not in the layer, so that one layer may stand in several places or be
used from several threads.

``layer(x)`` and ``layer.backward(dy)`` are the same two steps for the common case, with the pullback kept in
the layer between them.

The form ``forward -> (y, backprop)`` follows the Thinc library; the calculus is reverse-mode automatic
differentiation (Griewank & Walther, *Evaluating Derivatives*, 2008, chapter 3).
"""

from __future__ import annotations

import inspect
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, Literal, NamedTuple, TypeAlias, TypeVar, overload

import numpy as np

from fastconv import weights
from fastconv.nn import checkpoint
from fastconv.nn.arguments import checked, read_array, require_writable
from fastconv.nn.parameter import Array, Parameter
from fastconv.nn.summary import Summary, summarise

Pullback: TypeAlias = Callable[[Array], Array]
Rng: TypeAlias = np.random.Generator | int | None
L = TypeVar("L", bound="Layer")


@dataclass(frozen=True)
class SkippingPullback:
    """A pullback that can also do without dx: ``for_parameters(dy)`` adds into ``.grad`` and no more."""

    full: Pullback
    for_parameters: Callable[[Array], object]

    def __call__(self, dy: Array) -> Array:
        return self.full(dy)


class IncompatibleKeys(NamedTuple):
    """What ``load_state_dict(..., strict=False)`` did not find, and what it did not use."""

    missing_keys: list[str]
    unexpected_keys: list[str]


class Layer:
    """A differentiable function with parameters: the base of every layer and network.

    A layer of your own defines ``vjp``. Parameters and further layers that it keeps as attributes (layers
    also in lists and tuples) are found by themselves, arrays by ``buffer_names``. ``forward`` may be defined
    too, where computing ``y`` alone is cheaper. The arrays ``x`` and ``y`` may be kept, uncopied, until the
    pullback is gone: do not write into them before.

    Attributes
    ----------
    training : bool
        ``True`` at first; ``train()`` and ``eval()`` switch it here and in all layers within.
    input_shape : tuple of int, optional
        Shape of one sample, without the batch axis, where the layer knows it: the networks of
        ``fastconv.models`` do, and their ``summary()`` needs no more.
    buffer_names : tuple of str
        Attributes that are arrays, belong to the state, but are not trained (class attribute).

    Examples
    --------
    >>> import numpy as np
    >>> from fastconv import nn
    >>> class Scale(nn.Layer):
    ...     def __init__(self):
    ...         self.factor = nn.Parameter(np.array([3.0]), "factor")
    ...     def vjp(self, x):
    ...         def pullback(dy):
    ...             self.factor.accumulate(np.array([np.vdot(dy, x)]))
    ...             return self.factor.data * dy
    ...         return self.factor.data * x, pullback
    >>> layer = Scale()
    >>> layer(np.array([1.0, 2.0]))
    array([3., 6.])
    >>> layer.backward(np.array([1.0, 1.0]))
    array([3., 3.])
    >>> layer.factor.grad
    array([3.])
    """

    training: bool = True
    input_shape: tuple[int, ...] | None = None
    buffer_names: ClassVar[tuple[str, ...]] = ()
    _pullback: Pullback | None = None

    def vjp(self, x: Array) -> tuple[Any, Pullback]:
        """Compute ``y = f(x)`` and the pullback ``dy -> dx``, keeping nothing in the layer.

        Parameters
        ----------
        x : ndarray
            The input.

        Returns
        -------
        y : ndarray
            The result.
        pullback : callable
            Takes ``dy``, an array like `y`, returns ``dx``, an array like `x`, and adds into ``.grad`` of the
            parameters. Each call adds once.
        """
        raise NotImplementedError(f"{type(self).__name__} defines no vjp(x)")

    def forward(self, x: Array) -> Any:
        """Compute ``y = f(x)`` alone."""
        return self.vjp(x)[0]

    def __call__(self, *inputs: Any) -> Any:
        """Compute the result; in training mode keep, until the next call, what ``backward`` needs."""
        if not self.training:
            self._pullback = None
            return self.forward(*inputs)
        y, self._pullback = self.vjp(*inputs)
        return y

    @overload
    def backward(self, dy: Array, *, input_gradient: Literal[True] = True) -> Array: ...
    @overload
    def backward(self, dy: Array, *, input_gradient: Literal[False]) -> None: ...
    def backward(self, dy: Array, *, input_gradient: bool = True) -> Array | None:
        """Add the gradients of the last ``layer(x)`` into the parameters' ``.grad``; return that by ``x``.

        Parameters
        ----------
        dy : ndarray
            Gradient of the loss by the result of the last call; the result's shape and dtype.
        input_gradient : bool
            Whether the gradient by the input is wanted. A training loop does without, and saves the first
            layer that work where it is a convolution or a linear one.

        Returns
        -------
        dx : ndarray or None
            Gradient of the loss by the input of that call; ``None`` where it is not wanted.

        Raises
        ------
        RuntimeError
            Without a call in training mode before, and at a second ``backward`` after the same call: the
            first one gives back what the call kept. ``vjp`` serves where one result needs several gradients.
        ValueError, TypeError
            A `dy` of another shape or dtype.
        """
        if self._pullback is None:
            raise RuntimeError(
                f"{type(self).__name__}.backward: there is no forward pass to go back through; "
                "call the layer in training mode (train()) first, once for each backward(), or use vjp()"
            )
        dx = None
        if input_gradient:
            dx = self._pullback(dy)
        elif isinstance(self._pullback, SkippingPullback):
            self._pullback.for_parameters(dy)
        else:
            self._pullback(dy)
        self._pullback = None
        return dx

    def _read(self, x: Array) -> Array:
        """Take the input as a NumPy array of floating dtype; an error names this layer."""
        return read_array(type(self).__name__, "x", x)

    def _checked(self, y: Array, pullback: Pullback) -> Pullback:
        """Give the pullback that takes a ``dy`` like `y`, and no other, as a NumPy array."""
        return checked(type(self).__name__, y, pullback)

    def _skipping(self, y: Array, pullback: Callable[[Array, bool], Array]) -> Pullback:
        """Do the same with ``(dy, needs_dx) -> dx``."""
        return SkippingPullback(
            self._checked(y, lambda dy: pullback(dy, True)), self._checked(y, lambda dy: pullback(dy, False))
        )

    # What a layer contains

    def children(self) -> Iterator[tuple[str, Layer]]:
        """Go through the layers directly within this one, each with its name here."""
        for name, value in vars(self).items():
            if isinstance(value, Layer):
                yield name, value
            elif isinstance(value, list | tuple):
                for index, item in enumerate(value):
                    if isinstance(item, Layer):
                        yield f"{name}.{index}", item

    def named_layers(self, prefix: str = "") -> Iterator[tuple[str, Layer]]:
        """Go through this layer (its name is `prefix`) and all within, outer before inner, with dotted names.

        A layer that stands in several places comes once for each.
        """
        yield prefix, self
        for name, child in self.children():
            yield from child.named_layers(f"{prefix}.{name}" if prefix else name)

    def own_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Go through the parameters that are attributes of this very layer."""
        for name, value in vars(self).items():
            if isinstance(value, Parameter):
                yield name, value

    def named_parameters(self) -> Iterator[tuple[str, Parameter]]:
        """Go through all parameters with their dotted names (``"0.weight"``), a shared one once."""
        seen: set[int] = set()
        for prefix, layer in self.named_layers():
            for name, parameter in layer.own_parameters():
                if id(parameter) not in seen:
                    seen.add(id(parameter))
                    yield f"{prefix}.{name}" if prefix else name, parameter

    def parameters(self) -> Iterator[Parameter]:
        """Go through all parameters, each once."""
        for _, parameter in self.named_parameters():
            yield parameter

    def _state(self) -> dict[str, Array]:
        """Return the arrays themselves by name, parameters and buffers of every place a layer stands in."""
        arrays: dict[str, Array] = {}
        for prefix, layer in self.named_layers():
            dot = f"{prefix}." if prefix else ""
            arrays.update((dot + name, parameter.data) for name, parameter in layer.own_parameters())
            for name in layer.buffer_names:
                if getattr(layer, name) is not None:
                    arrays[dot + name] = getattr(layer, name)
        return arrays

    # State: saving and loading

    def state_dict(self) -> dict[str, Array]:
        """Copy all parameters and buffers into a dictionary, with the dotted names PyTorch would give them.

        Returns
        -------
        dict of str to ndarray
            Copies: later training steps do not change them.

        Examples
        --------
        >>> from fastconv import nn
        >>> model = nn.Sequential(nn.Linear(3, 2, rng=0), nn.BatchNorm1d(2))
        >>> sorted(model.state_dict())  # doctest: +NORMALIZE_WHITESPACE
        ['0.bias', '0.weight', '1.bias', '1.num_batches_tracked', '1.running_mean', '1.running_var',
        '1.weight']
        """
        return {name: np.array(array, order="C") for name, array in self._state().items()}

    def load_state_dict(
        self, state: Mapping[str, Array] | str | os.PathLike[str], strict: bool = True
    ) -> IncompatibleKeys:
        """Set parameters and buffers from a dictionary or file; an error changes nothing.

        Parameters
        ----------
        state : mapping of str to ndarray, or path
            As ``state_dict()`` gives it, or the path of a file: ``.safetensors``, ``.npz``, PyTorch's ``.pt``
            and ``.pth`` (see ``fastconv.weights.read``), Keras's ``.h5`` and ``.keras`` (see
            ``fastconv.weights.read_keras``). Floating dtypes are converted.
        strict : bool
            Whether names that are missing here or unknown to the model are an error. Wrong shapes always are.

        Returns
        -------
        IncompatibleKeys
            ``missing_keys`` and ``unexpected_keys``, both empty with ``strict=True``.

        Raises
        ------
        ValueError
            Names or shapes that do not fit (all of them are named), numbers that do not fit into the model's
            dtype, an array of the model that is read-only, or a file that is damaged or of another format.
        OSError
            No such file, or one that can't be opened.
        ModuleNotFoundError
            A file whose format needs a package that is not there: safetensors, h5py.
        TypeError
            Neither mapping nor path, or an array whose dtype can't stand in for the model's.
        """
        if isinstance(state, str | os.PathLike):
            state = weights.read_for(state, self)
        if not isinstance(state, Mapping):
            raise TypeError(f"load_state_dict: state must be a mapping or a path, got {type(state).__name__}")
        targets = self._state()
        keys = IncompatibleKeys(
            missing_keys=[name for name in targets if name not in state],
            unexpected_keys=[name for name in state if name not in targets],
        )
        faults = []
        if strict and keys.missing_keys:
            faults.append(f"missing: {', '.join(keys.missing_keys)}")
        if strict and keys.unexpected_keys:
            faults.append(f"not in the model: {', '.join(map(str, keys.unexpected_keys))}")
        sources = {
            name: checkpoint.as_array(f"load_state_dict: {name}", state[name])
            for name in targets
            if name in state
        }
        for name, source in sources.items():
            require_writable(f"load_state_dict: {name} of the model", targets[name])
            if source.shape != targets[name].shape:
                faults.append(f"{name} has shape {source.shape}, expected {targets[name].shape}")
        if faults:
            raise ValueError("load_state_dict: " + "; ".join(faults))
        converted = {
            name: checkpoint.convert(f"load_state_dict: {name}", source, targets[name].dtype)
            for name, source in sources.items()
        }
        for name, source in converted.items():
            targets[name][...] = source
        return keys

    def save_state_dict(self, path: str | os.PathLike[str]) -> None:
        """Write ``state_dict()`` to a ``.safetensors`` or ``.npz`` file, by its suffix.

        The first needs the package of that name. The file is written beside `path` and then moved there, so
        that `path` is always whole: the old one or the new. bfloat16, which NumPy can keep in neither, is
        widened to float32; loading narrows it again, without loss.
        """
        weights.write(path, self.state_dict())

    # Modes

    def train(self: L, mode: bool = True) -> L:
        """Switch this layer and all within to training, or with ``False`` to evaluation; return it."""
        for _, layer in self.named_layers():
            layer.training = mode
            layer._pullback = None
        return self

    def eval(self: L) -> L:
        """Switch to evaluation: calls compute the result alone and keep nothing. Return the layer."""
        return self.train(False)

    def zero_grad(self) -> None:
        """Set the gradients of all parameters to zero."""
        for parameter in self.parameters():
            parameter.zero_grad()

    def summary(self, input_shape: Sequence[int] | None = None) -> Summary:
        """Describe the network for one sample: layers, output shapes, parameters, multiply-adds.

        Parameters
        ----------
        input_shape : sequence of int, optional
            Shape of one sample, without the batch axis, such as ``(1, 28, 28)``; where the layers refuse
            that, its first number is taken for a batch size and left out. ``None`` takes the layer's own
            ``input_shape``.

        Returns
        -------
        Summary
            Its ``str`` is a table; ``rows``, ``parameters`` and ``multiply_adds`` are its parts.

        Raises
        ------
        TypeError
            An `input_shape` that is no sequence of integers, or none where the layer knows none.
        ValueError
            Sizes below 1, or that the layers refuse.

        Notes
        -----
        The shapes come from an empty batch sent through the layers in evaluation mode, so nothing is
        computed. No other thread may use the layers meanwhile.

        Examples
        --------
        >>> from fastconv import nn
        >>> nn.Conv3d(1, 10, 3, rng=0).summary((1, 8, 8, 8))
        layer   output shape      parameters  multiply-adds
        ---------------------------------------------------
        Conv3d  (N, 10, 6, 6, 6)         280         58,320
        ---------------------------------------------------
        total                            280         58,320
        """
        if input_shape is None:
            input_shape = self.input_shape
        if input_shape is None:
            raise TypeError(
                f"summary: this {type(self).__name__} has no input_shape of its own, and none was given; "
                "give that of one sample, such as (3, 224, 224)"
            )
        return summarise(self, input_shape)

    def multiply_adds(self, input_shape: Sequence[int], output_shape: Sequence[int]) -> int:
        """Count the multiply-adds of one sample by this very layer; shapes without the batch axis."""
        return 0

    def __getstate__(self) -> dict[str, Any]:
        """Leave out what a forward pass kept, so that layers can be copied and pickled."""
        return {name: value for name, value in vars(self).items() if name != "_pullback"}

    def __repr__(self) -> str:
        return f"{type(self).__name__}({describe(self)})"


def describe(layer: Layer) -> str:
    """Write the constructor's arguments that differ from their defaults, as far as the layer keeps them."""
    words = []
    for name, argument in inspect.signature(type(layer)).parameters.items():
        value = getattr(layer, name, argument.default)
        if isinstance(argument.default, bool):
            value = value is not None and value is not False
        if (
            value is argument.default
            or isinstance(value, Layer)
            or (np.isscalar(value) and value == argument.default)
        ):
            continue
        words.append(f"{value!r}" if argument.default is argument.empty else f"{name}={value!r}")
    return ", ".join(words)
