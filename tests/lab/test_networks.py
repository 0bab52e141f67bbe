"""Networks by name, their weights from files that hold nothing else, and what is refused."""

import pickle
import sys
import types
from collections import OrderedDict

import numpy as np
import pytest
import torch
from torch import nn

from napari_dip import lab
from napari_dip.command.cli import main


def test_weights_come_from_each_kind_of_file_that_holds_arrays_alone(tmp_path):
    other = lab.load_network("textures")
    for weight in other.parameters():
        weight.data += 1
    torch.save(other.state_dict(), tmp_path / "weights.pt")
    np.savez(tmp_path / "weights.npz", **{name: each.numpy() for name, each in other.state_dict().items()})
    for file in ("weights.pt", "weights.npz"):
        again = lab.load_network("textures", tmp_path / file)
        assert torch.equal(again.classes.bias, other.classes.bias)
    torch.save({"classes.bias": torch.zeros(8)}, tmp_path / "part.pt")
    with pytest.raises(ValueError, match="the file lacks classes.weight"):
        lab.load_network("textures", tmp_path / "part.pt")


def test_a_file_that_would_run_code_is_refused_and_runs_none(tmp_path):
    class Evil:
        def __reduce__(self):
            return open, (str(tmp_path / "done"), "w")

    (tmp_path / "evil.pt").write_bytes(pickle.dumps({"a": Evil()}))
    torch.save({"a": Evil()}, tmp_path / "evil.pth")
    np.savez(tmp_path / "evil.npz", a=np.array([Evil()], dtype=object))
    for file in ("evil.pt", "evil.pth", "evil.npz"):
        with pytest.raises(ValueError, match="more than weights|allow_pickle"):
            lab.load_network("textures", tmp_path / file)
    assert not (tmp_path / "done").exists()
    for name in ("model.pt2", "model.onnx", "model.pt"):
        with pytest.raises(ValueError, match="give the weights alone"):
            lab.load_network(name)
    with pytest.raises(ValueError, match="must be textures, torchvision:NAME"):
        lab.load_network("vgg16")
    with pytest.raises(TypeError, match="network=5 must be a text: textures, torchvision:NAME"):
        lab.load_network(5)
    (tmp_path / "mine.py").write_text("def means(image):\n    return image\n")
    with pytest.raises(ValueError, match=r"mine.py:means' fails as it is called without arg.*: TypeError: .*; name"):
        lab.load_network(f"{tmp_path / 'mine.py'}:means")


@pytest.mark.filterwarnings("ignore:.*LeafSpec")  # of torch, over itself
def test_a_program_that_a_file_of_the_user_s_loads_is_a_network_with_its_layers(tmp_path):
    torch.export.save(torch.export.export(lab.texture_network(), (torch.zeros(1, 1, 16, 16),)), tmp_path / "net.pt2")
    with pytest.raises(ValueError, match=r"FILE.py:NAME, .* NAME = torch.export.load"):
        lab.load_network(str(tmp_path / "net.pt2"))
    (tmp_path / "mine.py").write_text(f"import torch\nprogram = torch.export.load({str(tmp_path / 'net.pt2')!r})\n")
    network = lab.load_network(f"{tmp_path / 'mine.py'}:program")
    assert {"relu2", "classes"} <= dict(network.named_modules()).keys()
    assert torch.equal(network(torch.ones(1, 1, 16, 16)), lab.texture_network()(torch.ones(1, 1, 16, 16)))


def test_weights_that_are_not_there_are_said_to_be_so(tmp_path):
    for suffix in (".pt", ".npz"):
        with pytest.raises(ValueError, match="are not there"):
            lab.load_network("textures", tmp_path / f"none{suffix}")


def test_a_network_of_a_library_gets_its_weights_and_images_like_photographs(tmp_path, monkeypatch):
    library = types.ModuleType("torchvision.models")
    library.get_model = lambda name, weights: nn.Sequential(OrderedDict(features=nn.Conv2d(3, 2, 1), top=nn.ReLU()))
    monkeypatch.setitem(sys.modules, "torchvision", types.ModuleType("torchvision"))
    monkeypatch.setitem(sys.modules, "torchvision.models", library)
    with pytest.raises(ValueError, match="needs its weights"):
        lab.load_network("torchvision:tiny")
    torch.save({"features.weight": torch.ones(2, 3, 1, 1), "features.bias": torch.zeros(2)}, tmp_path / "tiny.pth")
    network = lab.load_network("torchvision:tiny", tmp_path / "tiny.pth")
    made = network(torch.full((1, 1, 4, 4), 0.5))
    assert torch.allclose(made, torch.tensor((0.5 - 0.485) / 0.229 + (0.5 - 0.456) / 0.224 + (0.5 - 0.406) / 0.225))
    found = lab.preimage(lab.texture("cells", (24, 24)), network, "features", iterations=2, plain=False)
    assert found.image.shape == (24, 24)
    with pytest.raises(ValueError, match="choose one of features, top$"):
        lab.preimage(lab.texture("cells", (24, 24)), network, "network.features", iterations=2)


def test_the_command_line_seeks_what_a_layer_takes_for_the_same_and_what_excites_a_unit(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text("import torch\n\ndef net():\n    return torch.nn.Sequential(torch.nn.Conv2d(1, 2, 3))\n")
    np.save(tmp_path / "a.npy", lab.texture("cells", (24, 24)))
    quick = [str(tmp_path / "a.npy"), "--iterations", "4", "--network", f"{file}:net", "--layer", "0"]
    assert main(["lab", "preimage", *quick, "--images", str(tmp_path / "out.tif")]) == 0
    assert "| prior |" in capsys.readouterr().out
    assert main(["lab", "maximise", *quick, "--unit", "2"]) == 1
    assert "from 0 to 1" in capsys.readouterr().err
    assert main(["lab", "maximise", *quick, "--unit", "1"]) == 0
    assert "| sought by | activation |" in capsys.readouterr().out
    assert main(["lab", "preimage", *quick[:-4], "--network", f"{file}:other"]) == 1
    assert "there is no other in" in capsys.readouterr().err
