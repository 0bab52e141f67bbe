"""Images that a network takes for the same: features are matched from the features alone, and a unit is raised."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

from napari_dip import lab

QUICK: dict[str, Any] = {"iterations": 20, "channels": 4, "scales": 2, "threads": 1, "progress": False}
IMAGE = lab.texture("rings", (16, 16), 3)


class Threes(nn.Module):
    """A network of three channels whose end takes images of 8 pixels alone."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.inner = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU())
        self.end, self.idle = nn.Linear(4 * 36, 2), nn.ReLU()

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return self.end(self.inner(image).flatten(1))


def test_the_network_in_the_package_tells_textures_apart() -> None:
    images = np.stack([lab.texture(name, (64, 64), seed) for seed in range(5, 9) for name in lab.TEXTURES])
    with torch.no_grad():
        told = lab.texture_network()(torch.from_numpy(images)[:, None]).argmax(1).reshape(4, -1)
    assert float((told == torch.arange(len(lab.TEXTURES))).float().mean()) > 0.9


def test_features_are_approached_and_only_they_are_known() -> None:
    found = lab.preimage(IMAGE, lab.texture_network(), "relu1", **QUICK)
    again = lab.preimage(IMAGE, lab.texture_network(), "relu1", **QUICK)
    assert np.array_equal(found.image, again.image)
    assert found.plain is not None
    assert found.image.shape == found.plain.image.shape == IMAGE.shape
    for sought in (found.prior, found.plain):
        assert sought.values[-1] < 0.8 * sought.values[0]
        assert sought.iterations[-1] == 20
    assert found.table().count("\n") == 3
    mean = nn.Sequential(nn.AdaptiveAvgPool2d(1))  # takes images of one mean for the same
    one, other = (lab.preimage(image, mean, "", limits=(0, 1), **QUICK) for image in (IMAGE, IMAGE[::-1]))
    assert one.image == pytest.approx(other.image, abs=1e-3)


def test_a_layer_within_is_reached_whatever_comes_behind_it() -> None:
    image = 200 * IMAGE.astype(np.float64)
    found = lab.preimage(
        image, Threes(), "inner.1", prepare=lambda x: x.expand(-1, 3, -1, -1) / 200, plain=False, **QUICK
    )
    assert found.plain is None
    assert image.min() <= found.image.min() < found.image.max() <= image.max()
    assert lab.preimage(np.stack([IMAGE] * 3), Threes(), "inner", **QUICK).image.shape == (3, 16, 16)


@pytest.mark.filterwarnings("ignore:.*LeafSpec")  # of torch, over itself
def test_an_exported_program_keeps_its_layers() -> None:
    program = torch.export.export(lab.texture_network(), (torch.zeros(1, 1, 16, 16),))
    found, other = (lab.preimage(IMAGE, model, "relu2", **QUICK) for model in (program, lab.texture_network()))
    assert found.image == pytest.approx(other.image, abs=1e-3)
    flat = program.module()
    assert lab.preimage(IMAGE, flat, "", **QUICK).image.shape == IMAGE.shape
    with pytest.raises(ValueError, match=r"layer='relu2' .* dissolved, as .module\(\) .*: give the program"):
        lab.preimage(IMAGE, flat, "relu2", **QUICK)


def test_a_unit_is_raised() -> None:
    found = lab.maximise(lab.texture_network(), "classes", lab.TEXTURES.index("checks"), (16, 16), **QUICK)
    assert found.plain is not None
    for sought in (found.prior, found.plain):
        assert sought.values[-1] > sought.values[0]
        assert sought.psnr is None


def test_it_stops_at_once_with_what_there_is() -> None:
    work = lab.iterate_preimage(IMAGE, lab.texture_network(), "relu1", should_stop=lambda: True, iterations=20)
    with pytest.raises(StopIteration) as end:
        next(work)
    assert end.value.value.plain is None
    assert end.value.value.image.shape == IMAGE.shape


class Asleep(nn.Conv2d):
    """A network that cannot be fitted through."""

    def __init__(self) -> None:
        super().__init__(1, 2, 3)

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        with torch.no_grad():
            return super().forward(image)


class Later(Asleep):
    """A network that fails once the search is under way."""

    calls = 0

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.calls += 1
        return image if self.calls < 6 else {}["lost"]


@pytest.mark.parametrize(
    ("said", "words"),
    [
        ({"layer": "conv9"}, "layer='conv9' .* conv1, relu1"),
        ({"model": Threes(), "layer": "idle"}, "prepare="),
        ({"model": Threes(), "layer": "idle", "image": np.stack([IMAGE[:8, :8]] * 3)}, "no part in the output"),
        ({"model": "vgg.pt"}, "must be a torch.nn.Module"),
        ({"limits": (1, 1)}, "limits="),
        ({"limits": "ab"}, "limits='ab' must be two"),
        ({"prepare": lambda image: 1 / 0}, "prepare= fails on an image .*: ZeroDivisionError"),
        ({"prepare": lambda image: None}, "prepare= must give a tensor .* not None"),
        ({"prepare": lambda image: image.detach()}, "differentiable .* prepare="),
        ({"model": Asleep(), "layer": ""}, "layer='' must be differentiable .*no_grad"),
        ({"model": Later(), "layer": ""}, "model fails on an image .*: KeyError: 'lost'"),
        ({"tv": -1}, "tv=-1 must be a number from 0"),
        ({"plain": "no"}, "plain='no' must be True or False"),
        ({"image": np.ones((16, 16))}, "not of one value"),
        ({"image": np.ones(16)}, "channels first"),
        ({"tile": 16}, "leave out tile"),
    ],
)
def test_what_does_not_fit_is_said_with_a_remedy(said: dict[str, Any], words: str) -> None:
    with pytest.raises((TypeError, ValueError), match=words):
        lab.preimage(**{"image": IMAGE, "model": lab.texture_network(), "layer": "relu1", **QUICK, **said})


@pytest.mark.parametrize(
    ("said", "words"), [({"unit": 8}, "from 0 to 7"), ({"shape": (16,)}, "shape="), ({"shape": 16}, "shape=16 must be")]
)
def test_a_unit_and_a_shape_must_be_there(said: dict[str, Any], words: str) -> None:
    with pytest.raises(ValueError, match=words):
        lab.maximise(
            **{"model": lab.texture_network(), "layer": "classes", "unit": 0, "shape": (16, 16), **QUICK, **said}
        )
