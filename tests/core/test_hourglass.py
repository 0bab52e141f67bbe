"""The hourglass: every option builds for every shape, trains, and is the published network where it should be."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator, Sequence
from typing import Any

import pytest
import torch
from torch import Tensor

from napari_dip.core.generators import draw_weights, make_generator
from napari_dip.core.generators.hourglass import Hourglass
from napari_dip.core.generators.layers import ACTIVATIONS, crop, halvings
from napari_dip.tables.settings import Settings, knobs
from tests.core.tiny import tiny

SHAPES = [(1, 1000), (7, 7), (3, 3), (33, 17), (1, 1), (2, 5), (64, 65), (5, 33, 20), (1, 9, 9), (1, 1, 1), (3, 3, 3)]


def build(shape: tuple[int, ...], leaving: int = 1, code_channels: int = 2, seed: int = 0, **knobs: Any) -> Hourglass:
    generator = make_generator(tiny(**{"channels": 3, **knobs}).method, code_channels, leaving, shape)
    draw_weights(generator, torch.Generator().manual_seed(seed))
    return generator


def image_of(generator: Hourglass, code_channels: int = 2) -> Tensor:
    return generator(torch.rand(1, code_channels, *generator.canvas, generator=torch.Generator().manual_seed(1)))


def check_trains(generator: Hourglass, channels: int, shape: tuple[int, ...]) -> None:
    """Right shape, finite image, and a finite gradient for every weight."""
    image = image_of(generator)
    assert image.shape == (1, channels, *shape)
    assert image.isfinite().all()
    image.square().sum().backward()
    for name, weight in generator.named_parameters():
        assert weight.grad is not None, f"{name} has no gradient"
        assert weight.grad.isfinite().all(), name


def with_every_pair(*choices: Sequence[str]) -> Iterator[tuple[str, ...]]:
    """Some of all combinations of choices, such that any two choices meet in one of them."""
    every, met = list(itertools.product(*choices)), set()

    def new(values: tuple[str, ...]) -> set[Any]:
        return set(itertools.combinations(enumerate(values), 2)) - met

    while pairs := new(best := max(every, key=lambda values: len(new(values)))):
        met |= pairs
        yield best


@pytest.mark.parametrize("shape", [(9, 6), (5, 9, 6)], ids=str)
@pytest.mark.parametrize("upsampling", knobs()["upsampling"].choices)
@pytest.mark.parametrize("downsampling", knobs()["downsampling"].choices)
def test_every_option_builds_and_trains(shape: tuple[int, ...], upsampling: str, downsampling: str) -> None:
    names = ("padding", "activation", "normalisation", "output")
    for values in with_every_pair(*(knobs()[name].choices for name in names)):
        options = dict(zip(names, values, strict=True))
        generator = build(shape, leaving=2, upsampling=upsampling, downsampling=downsampling, **options)
        check_trains(generator, 2, shape)


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("padding", ["reflection", "zero"])
@pytest.mark.parametrize("size", [3, 7, 15])
def test_every_shape_works(shape: tuple[int, ...], padding: str, size: int) -> None:
    generator = build(shape, scales=5, padding=padding, filter_size=size, filter_size_up=3, filter_size_skip=1)
    check_trains(generator, 1, shape)


@pytest.mark.parametrize(
    "knobs",
    [
        {"channels": (2, 3, 4)},
        {"channels_up": (4, 2, 3)},
        {"channels_up": 5},
        {"channels_up": (0, 2, 0)},
        {"skip_channels": (0, 1, 2)},
        {"skip_channels": 0},
        {"filter_size": (5, 3, 7), "filter_size_up": (7, 5, 1), "filter_size_skip": 5},
        {"upsampling": ("nearest", "bilinear", "transposed"), "downsampling": ("stride", "average", "lanczos3")},
        {"pointwise_up": False},
    ],
    ids=str,
)
@pytest.mark.parametrize("shape", [(33, 17), (9, 20, 12), (3, 3)], ids=str)
def test_one_value_per_scale_works(knobs: dict[str, Any], shape: tuple[int, ...]) -> None:
    check_trains(build(shape, scales=3, **knobs), 1, shape)


def test_values_per_scale_go_to_their_scale() -> None:
    per_scale: dict[str, Any] = {"channels": (2, 3, 4), "channels_up": (5, 0, 7), "skip_channels": (1, 0, 6)}
    generator = build((64, 64), scales=3, padding="zero", **per_scale)
    assert [down[1][0].out_channels for down in generator.downs] == [2, 3, 4]
    assert [join[-1][0].out_channels for join in generator.joins] == [5, 3, 7]
    assert [skip[0].out_channels if len(list(skip.children())) else 0 for skip in generator.skips] == [1, 0, 6]


@pytest.mark.parametrize("shape", SHAPES, ids=str)
@pytest.mark.parametrize("scales", [1, 5, 10])
@pytest.mark.parametrize("smallest", [2, 4])
def test_it_is_never_deeper_than_the_image_allows(shape: tuple[int, ...], scales: int, smallest: int) -> None:
    factors = halvings(shape, scales, smallest)
    assert 1 <= len(factors) <= scales
    assert all(max(factor) == 2 for factor in factors[1:])
    for n, *axis in zip(shape, *factors, strict=True):
        assert math.prod(axis) == 1 or math.ceil(n / math.prod(axis)) >= smallest
        coarsest = math.ceil(n / math.prod(axis))
        assert len(factors) == scales or coarsest < 2 * smallest, "another halving would have fitted"


def test_a_large_image_gets_all_scales_and_a_thin_one_is_halved_along_its_length() -> None:
    assert halvings((256, 256), 5) == [(2, 2)] * 5
    assert halvings((1, 64), 3) == [(1, 2)] * 3
    assert halvings((8, 64), 4) == [(2, 2), (2, 2), (1, 2), (1, 2)]


@pytest.mark.parametrize(
    ("voxel_size", "later"),
    [
        ((1, 1, 1), 0),
        ((4, 4, 4), 0),
        ((1.4, 1, 1), 0),
        ((2, 1, 1), 1),
        ((0.5, 0.25, 0.25), 1),
        ((5, 1, 1), 2),
        ((8, 1, 1), 3),
    ],
)
def test_an_axis_that_is_k_times_coarser_is_halved_log2_k_scales_later(
    voxel_size: tuple[float, ...], later: int
) -> None:
    factors = halvings((64, 64, 64), 4, voxel_size=voxel_size)
    assert factors == [(1, 2, 2)] * later + [(2, 2, 2)] * (4 - later)


def test_coarse_voxels_wait_only_for_axes_that_can_still_be_halved() -> None:
    assert halvings((64, 2, 2), 2, voxel_size=(8, 1, 1)) == [(2, 1, 1)] * 2
    for voxel_size in ((1e9, 1), (1e-9, 1)):
        assert len(halvings((64, 64), 10, voxel_size=voxel_size)) == 10


@pytest.mark.parametrize("kind", ["hourglass", "unet"])
def test_generators_take_anisotropic_volumes(kind: str) -> None:
    settings = tiny(
        scales=3,
        **({"generator": "unet", "code": "self", "skip_channels": 4, "code_channels": 32} if kind == "unet" else {}),
    )
    generator = make_generator(settings.method, 4, 1, (7, 20, 18), (4, 1, 1))
    assert generator(torch.rand(1, 4, *generator.canvas)).shape[-3:] == (
        (7, 20, 18) if kind == "hourglass" else generator.canvas
    )
    assert generator.canvas[0] < 12


@pytest.mark.parametrize("shape", SHAPES, ids=str)
def test_the_canvas_holds_the_image_and_is_little_larger(shape: tuple[int, ...]) -> None:
    generator = build(shape, scales=5)
    for n, c, *factors in zip(shape, generator.canvas, *halvings(shape, 5), strict=True):
        assert n <= c < max(n + math.prod(factors), 3)


def test_cropping_takes_the_middle() -> None:
    image = torch.arange(7.0).reshape(1, 1, 1, 7)
    assert crop(image, (1, 3)).flatten().tolist() == [2, 3, 4]
    assert crop(image, (1, 4)).flatten().tolist() == [1, 2, 3, 4]


def published_weight_count(code: int, width: int, skip: int, scales: int, out: int) -> int:
    """Of the original hourglass, layer by layer: convolutions with bias, norms with two weights a channel."""

    def conv_and_norm(arriving: int, leaving: int, size: int) -> int:
        return arriving * leaving * size**2 + leaving + 2 * leaving

    total, arriving = 0, code
    for _ in range(scales):
        total += conv_and_norm(arriving, skip, 1)
        total += conv_and_norm(arriving, width, 3) + conv_and_norm(width, width, 3)
        total += 2 * (width + skip)
        total += conv_and_norm(width + skip, width, 3) + conv_and_norm(width, width, 1)
        arriving = width
    return total + width * out + out


def test_the_defaults_are_the_published_network() -> None:
    generator = make_generator(Settings().method, 32, 3, (64, 64))
    count = sum(weight.numel() for weight in generator.parameters())
    assert count == published_weight_count(code=32, width=128, skip=4, scales=5, out=3)
    assert count == 2_217_831  # what the original notebooks print


@pytest.mark.parametrize("padding", ["reflection", "zero"])
def test_sigmoid_keeps_the_image_between_zero_and_one_and_linear_does_not(padding: str) -> None:
    def drawn(output: str) -> Tensor:
        generator = build((16, 16), leaving=3, output=output, padding=padding)
        with torch.no_grad():
            generator.last.weight.mul_(1e3)
        return image_of(generator)

    sigmoid, linear = drawn("sigmoid"), drawn("linear")
    assert sigmoid.min() >= 0
    assert sigmoid.max() <= 1
    assert linear.min() < 0
    assert linear.max() > 1
    torch.testing.assert_close(sigmoid, linear.sigmoid())


@pytest.mark.parametrize(
    ("name", "at_minus_one"),
    [("leaky_relu", -0.2), ("swish", -1 / (1 + math.e)), ("elu", 1 / math.e - 1)],
)
def test_activations_are_the_published_ones(name: str, at_minus_one: float) -> None:
    values = ACTIVATIONS[name]()(torch.tensor([-1.0, 0.0, 20.0]))
    torch.testing.assert_close(values, torch.tensor([at_minus_one, 0.0, 20.0]))


def test_the_seed_decides_the_weights_and_nothing_else_does() -> None:
    torch.manual_seed(1)
    one = build((9, 9), seed=5).state_dict()
    torch.manual_seed(2)
    same, other = build((9, 9), seed=5).state_dict(), build((9, 9), seed=6).state_dict()
    assert all(torch.equal(one[name], same[name]) for name in one)
    assert not all(torch.equal(one[name], other[name]) for name in one)


def test_weights_are_drawn_as_torch_draws_them() -> None:
    """Uniform, up to one over the root of the fan in."""
    for layer in build((16, 16), channels=8, code_channels=8, upsampling="transposed").modules():
        if isinstance(layer, (torch.nn.Conv2d, torch.nn.ConvTranspose2d)):
            bound = 1 / math.sqrt(torch.nn.init._calculate_fan_in_and_fan_out(layer.weight)[0])
            drawn = torch.cat([layer.weight.detach().flatten(), layer.bias.detach()])
            assert drawn.abs().max() <= bound
            assert len(drawn) < 100 or float(drawn.std()) == pytest.approx(bound / math.sqrt(3), rel=0.1)


@pytest.mark.parametrize("upsampling", ["bilinear", "nearest"])
def test_half_the_digits_give_the_same_image_and_gradients_nearly(upsampling: str) -> None:
    def fitted(enabled: bool) -> tuple[Tensor, Tensor]:
        generator = build((16, 16), upsampling=upsampling)
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            image = image_of(generator)
        assert image.dtype == torch.float32
        image.square().sum().backward()
        return image.detach(), torch.cat([w.grad.flatten() for w in generator.parameters() if w.grad is not None])

    image, gradient = fitted(False)
    nearly, other = fitted(True)
    assert (nearly - image).abs().max() < 0.03
    assert torch.cosine_similarity(other, gradient, dim=0) > 0.99


def test_the_statistics_are_those_of_the_image_at_hand() -> None:
    generator = build((12, 12))
    first = image_of(generator)
    assert torch.equal(image_of(generator), first)
    assert torch.equal(image_of(generator.eval()), first)
