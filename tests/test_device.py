import subprocess
import sys
from pathlib import Path

import pytest
import torch

from recsys_lib import datasets
from recsys_lib import device as device_module
from recsys_lib.device import kept_memory, onednn_products, resolve_device
from recsys_lib.models import GMF, AutoRec, MultDAE

ROOT = Path(__file__).parents[1]


def test_auto_takes_what_is_there(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert resolve_device().type == "cuda"
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: True)
    assert resolve_device("auto").type == "mps"
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert resolve_device("auto").type == "cpu"


def test_names_and_devices_are_taken_at_their_word(monkeypatch):
    assert resolve_device("cpu") == torch.device("cpu")
    assert resolve_device(torch.device("cpu")) == torch.device("cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert resolve_device("cuda:1") == torch.device("cuda", 1)
    assert resolve_device("cuda") == torch.device("cuda")
    with pytest.raises(ValueError, match=r"device='cuda:2' is not available: 2 CUDA device\(s\) found"):
        resolve_device("cuda:2")


def test_a_device_that_is_missing_is_named_with_the_way_out(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    for device in ("cuda", "cuda:0", torch.device("cuda"), "mps"):
        with pytest.raises(ValueError, match=rf"device='{device}' is not available.* Use device='auto'"):
            resolve_device(device)


@pytest.mark.parametrize("device", ["gpu", "", "cuda:x", None, 3.5])
def test_nonsense_is_named(device):
    with pytest.raises(ValueError, match=r"device=.* is not a device. Use 'auto'"):
        resolve_device(device)


# ---------------------------------------------------------------------- oneDNN

SETTING = getattr(torch.backends.mkldnn, "matmul", None)
needs_setting = pytest.mark.skipif(
    not hasattr(SETTING, "fp32_precision"), reason="this PyTorch has no setting for oneDNN alone"
)


@pytest.fixture
def exact(monkeypatch):
    monkeypatch.setattr(device_module, "_onednn_is_exact", lambda: True)


@needs_setting
@pytest.mark.usefixtures("exact")
def test_onednn_is_asked_for_inside_the_block_alone():
    before = SETTING.fp32_precision
    with onednn_products():
        assert SETTING.fp32_precision == "bf16"
        with pytest.raises(KeyError), onednn_products():
            raise KeyError
        assert SETTING.fp32_precision == "bf16"
    assert SETTING.fp32_precision == before


@needs_setting
@pytest.mark.usefixtures("exact")
def test_blocks_of_two_threads_may_overlap():
    before = SETTING.fp32_precision
    first, second = onednn_products(), onednn_products()
    first.__enter__()
    second.__enter__()
    first.__exit__(None, None, None)
    assert SETTING.fp32_precision == "bf16"
    second.__exit__(None, None, None)
    assert SETTING.fp32_precision == before


@needs_setting
def test_fewer_bits_are_noticed(monkeypatch):
    numbers = torch.linspace(-1, 1, 2**16).sin().view(256, 256)
    assert device_module._error(numbers @ numbers.T, numbers) < 1e-5
    rough = numbers.bfloat16().float()
    assert device_module._error(rough @ rough.T, numbers) > 1e-4
    monkeypatch.setattr(device_module, "_error", lambda product, numbers: 1e-4)
    device_module._onednn_is_exact.cache_clear()
    before = SETTING.fp32_precision
    with onednn_products():
        assert SETTING.fp32_precision == before
    device_module._onednn_is_exact.cache_clear()


@needs_setting
@pytest.mark.usefixtures("exact")
@pytest.mark.parametrize(("model", "expected"), [(MultDAE, "bf16"), (AutoRec, "bf16"), (GMF, "none")])
def test_models_of_large_products_take_it(model, expected):
    seen = []
    data = datasets.synthetic(30, 60, 300, feedback="explicit", seed=0)
    model(epochs=1, device="cpu", seed=0).fit(data, callbacks=[lambda _: seen.append(SETTING.fp32_precision)])
    assert seen == [expected]
    assert SETTING.fp32_precision == "none"


class Library:
    """Notes what glibc would be told."""

    def __init__(self):
        self.calls = []

    def mallopt(self, setting, value):
        self.calls.append((setting, value))

    def malloc_trim(self, pad):
        self.calls.append("trim")


KEEP = [(-4, 0), (-1, 2**31 - 1)]
USUAL = [(-4, 65_536), (-3, 2**25), (-1, 2**26), "trim"]


@pytest.fixture
def library(monkeypatch):
    library = Library()
    monkeypatch.setattr(device_module, "_glibc", lambda: library)
    return library


def test_memory_is_kept_inside_the_outermost_block_alone(library):
    with kept_memory():
        assert library.calls == KEEP
        with pytest.raises(KeyError), kept_memory():
            raise KeyError
        assert library.calls == KEEP
    assert library.calls == KEEP + USUAL
    with kept_memory():
        pass
    assert library.calls == 2 * (KEEP + USUAL)


def test_without_glibc_nothing_is_set(monkeypatch):
    monkeypatch.setattr(device_module, "_glibc", lambda: None)
    before = device_module._memory.open
    with kept_memory():
        assert device_module._memory.open == before


@pytest.mark.parametrize(("model", "expected"), [(MultDAE, True), (AutoRec, True), (GMF, False)])
def test_models_of_large_tensors_keep_their_memory(model, expected, library):
    data = datasets.synthetic(30, 60, 300, feedback="explicit", seed=0)
    seen = []
    fit = model(epochs=1, device="cpu", seed=0).fit
    fit(data, callbacks=[lambda _: seen.append(bool(library.calls))])
    assert seen == [expected]
    assert library.calls == (KEEP + USUAL if expected else [])


@pytest.mark.skipif(sys.platform != "linux" or device_module._glibc() is None, reason="needs glibc")
def test_what_is_free_after_the_block_goes_back_to_the_system():
    # In a process of its own: here, what other tests have freed would do for what is asked for.
    code = (
        "import os, torch\n"
        "from recsys_lib.device import kept_memory\n"
        "def megabytes():\n"
        "    pages = int(open('/proc/self/statm').read().split()[1])\n"
        "    return pages * os.sysconf('SC_PAGE_SIZE') // 2**20\n"
        "torch.ones(2**24)\n"
        "found = [megabytes()]\n"
        "with kept_memory():\n"
        "    for _ in range(3):\n"
        "        torch.ones(2**24)\n"  # 64 MB
        "    found.append(megabytes())\n"
        "print(*found, megabytes())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=ROOT)
    before, inside, after = map(int, done.stdout.split())
    assert inside > before + 50
    assert after < before + 15
