"""The samples: quick and the same every time, calibrated, noisy enough to be worth a restoration, with their truth."""

import subprocess
import sys

import numpy as np
import pytest
import torch

from napari_dip.core.operators import Downsample
from napari_dip.viewer import samples

KEYS = ("fluorescence", "holes", "compressed", "faint", "low_resolution", "stack", "photograph")
CALIBRATED = KEYS[:6]


def psnr(truth, image):
    """Peak signal-to-noise ratio in dB, the peak being the range of the truth."""
    error = truth.astype(float) - image
    return 10 * np.log10(np.ptp(truth.astype(float)) ** 2 / np.mean(error**2))


def outline(layer):
    """World position of the outer corner of the first and of the last pixel."""
    shape = layer.data.shape[: layer.ndim]
    return np.array([layer.data_to_world(np.full(layer.ndim, -0.5)), layer.data_to_world(np.array(shape) - 0.5)])


@pytest.fixture
def open_sample(viewer):
    return lambda key: (viewer, viewer.open_sample("napari-dip", key))


@pytest.mark.parametrize("key", KEYS)
def test_a_sample_lies_over_its_hidden_truth(open_sample, key):
    viewer, (truth, image, *masks) = open_sample(key)
    assert not truth.visible
    assert truth.name == f"{image.name}, ground truth"
    assert image.visible
    assert np.allclose(outline(truth), outline(image))
    assert tuple(truth.contrast_limits) == tuple(image.contrast_limits)
    assert image.metadata["sample"]["noise"]
    assert viewer.layers.selection.active is (masks[0] if masks else image)
    for layer in (truth, image, *masks):
        assert layer.axis_labels == ("z", "y", "x")[-layer.ndim :]
        assert layer.units == image.units


@pytest.mark.parametrize("key", CALIBRATED)
def test_pixels_are_measured_in_micrometres(open_sample, key):
    _, layers = open_sample(key)
    for layer in layers:
        assert {f"{unit}" for unit in layer.units} == {"micrometer"}
        assert all(0 < scale < 1 for scale in layer.scale)


@pytest.mark.parametrize("key", ["fluorescence", "stack", "photograph"])
def test_the_noise_is_plain_to_see_and_the_signal_too(key):
    (truth, _, _), (image, _, _) = getattr(samples, key)()
    assert 20 < psnr(truth, image) < 24


@pytest.mark.parametrize("key", KEYS)
def test_a_sample_is_the_same_every_time(key):
    once, again = getattr(samples, key)(), getattr(samples, key)()
    for (data, look, kind), (other, other_look, other_kind) in zip(once, again, strict=True):
        assert np.array_equal(data, other)
        assert (look, kind) == (other_look, other_kind)


def test_the_mask_marks_what_reads_dark():
    (truth, _, _), (image, _, _), (mask, _, kind) = samples.holes()
    missing = mask > 0
    assert kind == "labels"
    assert set(np.unique(mask)) == {0, 1, 2, 3}
    assert 0.05 < missing.mean() < 0.25
    assert image[missing].max() < truth.min()
    assert psnr(truth[~missing], image[~missing]) > 30


def test_the_coarse_image_is_what_the_operator_makes_of_the_truth():
    (truth, _, _), (image, look, _) = samples.low_resolution()
    seen = Downsample((4, 4), "lanczos2")(torch.from_numpy(truth)[None, None])[0, 0].numpy()
    assert seen.shape == image.shape
    photons = (seen - look["metadata"]["sample"]["offset"]) / look["metadata"]["sample"]["gain"]
    sigma = look["metadata"]["sample"]["gain"] * np.sqrt(photons)
    assert 0.9 < np.std((image - seen) / sigma) < 1.1  # photon noise, and nothing else


def test_voxels_of_the_stack_are_higher_than_wide():
    (_, place, _), (image, _, _) = samples.stack()
    assert image.ndim == 3
    assert place["scale"][0] > 2 * place["scale"][1] == 2 * place["scale"][2]


def test_the_photograph_is_in_colour(open_sample):
    _, layers = open_sample("photograph")
    for layer in layers:
        assert layer.rgb
        assert layer.data.dtype == np.uint8


def test_samples_need_neither_torch_nor_the_window_nor_the_network():
    code = (
        "import socket, sys\n"
        "def refuse(*args, **kwargs): raise OSError('a sample asked for the network')\n"
        "socket.socket.connect = socket.create_connection = refuse\n"
        "from napari_dip.viewer import samples\n"
        f"for key in {KEYS}: getattr(samples, key)()\n"
        "assert not {'torch', 'napari', 'qtpy'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True, timeout=120)
