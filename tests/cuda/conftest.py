"""The fixture that puts a test on every device there is."""

from __future__ import annotations

from typing import Any

import pytest
from devices import EmulatedArray, EmulatedDevice, Gpu, why_no_gpu

from fastconv import _core, _device_arrays


@pytest.fixture(scope="session")
def _emulated() -> EmulatedDevice:
    return EmulatedDevice()


@pytest.fixture(params=["emulated"] if why_no_gpu() else ["emulated", "gpu"])
def on_device(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that calls another one with its arrays on the device, its results on the host."""
    if request.param == "emulated":
        device: Any = request.getfixturevalue("_emulated")
        monkeypatch.setitem(_device_arrays.LIBRARIES, EmulatedArray.__module__, device)
        _core.use_cuda_module(device.module)
        request.addfinalizer(lambda: _core.use_cuda_module(None))
    else:
        device = Gpu()

    def call(function: Any, *arguments: Any, **keywords: Any) -> Any:
        return device.get(
            function(
                *(device.put(each) for each in arguments),
                **{name: device.put(each) for name, each in keywords.items()},
            )
        )

    return call
