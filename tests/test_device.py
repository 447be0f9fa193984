import pytest
import torch

from recsys_lib.device import resolve_device


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
