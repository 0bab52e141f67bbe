"""After a run: what is told of it, and the maps and figures that say how far to trust it."""

from dataclasses import replace

import numpy as np
import pytest

from napari_dip import denoise
from napari_dip.core.methods.base import Fitter
from napari_dip.viewer import account, restore_layer
from napari_dip.viewer.restoration import METADATA
from tests.viewer.docks import LONG, QUICK, map_of, restored

UM = {"scale": (0.2, 0.2), "units": ("um", "um")}


@pytest.fixture
def spots():
    """Spots without noise (64, 64)."""
    y, x = np.mgrid[:64, :64]
    return (50 + 400 * np.exp(-((y - 30) ** 2 + (x - 40) ** 2) / 60)).astype(np.float32)


@pytest.fixture
def noisy(spots):
    return (spots + np.random.default_rng(0).normal(0, 20, spots.shape)).astype(np.float32)


def switch_on(widget, *names):
    for name in names:
        widget.trust.switches[name].setChecked(True)


def run(widget, wait):
    widget.run_button.click()
    wait(lambda: not widget.running)


def maps(viewer):
    return [layer.metadata[METADATA]["map"] for layer in viewer.layers if "map" in layer.metadata.get(METADATA, {})]


def figures(viewer):
    return restored(viewer)[0].metadata[METADATA]["trust"]


# ------------------------------------------------------------------------------------------------------- in words


def test_the_status_says_why_it_ended_and_what_the_residual_says(viewer, dock, wait, noisy):
    viewer.add_image(noisy, name="cells")
    widget = dock()
    run(widget, wait)
    verdict = restored(viewer)[0].metadata[METADATA]["residual_verdict"]["sentence"]
    assert widget.status.startswith("'cells denoised' (")
    assert "finished all 5 iterations. " in widget.status
    assert verdict in widget.status


def test_what_happened_names_the_method_and_the_stopping_rule_with_their_reasons(viewer, dock, wait, noisy):
    viewer.add_image(noisy, name="cells")
    widget = dock(stop="auto")
    assert not widget.controls.happened.isVisibleTo(widget)
    run(widget, wait)
    record = restored(viewer)[0].metadata[METADATA]
    assert widget.controls.happened.isVisibleTo(widget)
    for name in ("method", "stop_rule"):
        called = record[name]["name"]
        said = f"{called[0].upper()}{called[1:]}, because {record[name]['reason']}"
        assert said in widget.controls.account
    assert "<b>Noise.</b>" in widget.controls.account


def test_warnings_come_first_and_are_counted(viewer, dock, wait, noisy):
    viewer.add_image(noisy, name="cells")
    holes = np.zeros(noisy.shape, int)
    holes[8:56, 8:56] = 1
    widget = dock("Inpaint")
    widget.inputs.mask.value = viewer.add_labels(holes)
    run(widget, wait)
    assert "1 warning" in widget.controls.happened.text()
    assert "Warning.</b> The hole around" in widget.controls.account.split("</p>")[0]


def test_the_last_iterate_can_be_had_where_it_is_another(viewer, dock, wait, noisy):
    source = viewer.add_image(noisy, name="cells", **UM)
    widget = dock()
    run(widget, wait)
    assert not widget.controls.last_button.isVisibleTo(widget.controls.happened)
    restoration, result, layer = widget._last
    other = replace(result, last=result.last + 1, marks=(3,))
    assert account.has_other_last(other)
    assert "that of iteration 3; 5 were made" in dict(account.details(other))["Image"]
    patches = replace(other, iterations=0)  # compared alone: there is no other image of iterations
    assert not account.has_other_last(patches)
    assert "Image" not in dict(account.details(patches))
    widget._last = (restoration, other, layer)
    widget.controls.tell_account(account.details(other), has_last=True)
    widget.controls.last_button.click()
    last = map_of(viewer, "last iterate")
    assert np.array_equal(last.data, result.last + 1)
    assert np.allclose(last.data_to_world((1, 1)), source.data_to_world((1, 1)))
    assert not last.visible


# ----------------------------------------------------------------------------------------------------------- maps


def test_nothing_is_added_unless_it_is_switched_on(viewer, dock, wait, noisy):
    viewer.add_image(noisy)
    widget = dock()
    run(widget, wait)
    assert len(viewer.layers) == 2
    assert widget.trust.told == ""
    assert "trust" not in restored(viewer)[0].metadata[METADATA]


def test_what_uncertainty_makes_of_a_run_is_said_before_it(viewer, dock, wait, noisy):
    """Similar patches in a second were announced, and eight minutes of training came."""
    viewer.add_image(noisy)
    widget = dock()
    widget.form.reset()
    widget.form.set(quality="fast")
    wait(lambda: "similar patches alone" in widget._sentence.text())
    switch_on(widget, "uncertainty")
    assert "similar patches" not in widget._sentence.text()
    planned, _ = widget._asked(read=True).start(lambda: True, 1).plan, widget.stop()
    assert planned.settings.method.name == widget.form.method
    widget.form.set(preset="denoise-patches")
    assert not widget.run_button.isEnabled()
    assert "uncertainty=True does not go with" in widget._sentence.text()
    widget.trust.switches["uncertainty"].setChecked(False)
    assert widget.run_button.isEnabled()


def test_residual_and_uncertainty_lie_where_the_image_lies(viewer, dock, wait, noisy):
    source = viewer.add_image(noisy, name="cells", translate=(3, 4), **UM)
    widget = dock()
    switch_on(widget, "residual", "uncertainty")
    run(widget, wait)
    result = restored(viewer)[0]
    residual, uncertainty = map_of(viewer, "residual"), map_of(viewer, "uncertainty")
    assert np.allclose(residual.data, noisy - result.data, atol=1e-2)
    assert (uncertainty.data >= 0).all()
    for layer in (residual, uncertainty):
        assert np.allclose(layer.data_to_world((5, 6)), source.data_to_world((5, 6)))
        assert layer.units == source.units
        assert not layer.visible
        assert layer.metadata[METADATA]["of"] == "cells denoised"
    low, high = residual.contrast_limits
    assert -low == high > 0
    assert uncertainty.contrast_limits[0] == 0
    assert "at the median pixel" in widget.trust.told
    assert set(figures(viewer)) == {"residual_verdict", "uncertainty"}
    assert widget.inputs.image.value is source
    assert residual not in [layer for _, layer in widget.inputs.images()]


def test_a_slice_that_fails_costs_that_slice_and_is_told(viewer, dock, wait, noisy, monkeypatch):
    plain = Fitter.step

    def step(fitter):
        if fitter.problem.observation.min() > 0.4:  # the brightest slice
            raise RuntimeError("on purpose")
        plain(fitter)

    monkeypatch.setattr(Fitter, "step", step)
    viewer.add_image(np.stack([noisy, noisy + 900, noisy[::-1]]))
    widget = dock()
    widget.inputs.where.value = "all slices, one after the other"
    run(widget, wait)
    image = restored(viewer)[0].data
    assert np.isnan(image[1]).all()
    assert np.isfinite(image[[0, 2]]).all()
    assert "slice 1 failed" in widget.status
    assert "on purpose" in widget.status


def test_maps_of_all_slices_of_a_stack(viewer, dock, wait, noisy):
    viewer.add_image(np.stack([noisy, noisy[::-1]]), scale=(2, 1, 1))
    widget = dock()
    widget.inputs.where.value = "all slices, one after the other"
    switch_on(widget, "residual", "uncertainty", "control")
    run(widget, wait)
    for kind in ("residual", "uncertainty"):
        layer = map_of(viewer, kind)
        assert layer.data.shape == (2, 64, 64)
        assert np.isfinite(layer.data).all()
        assert tuple(layer.scale) == (2, 1, 1)
    assert map_of(viewer, "noise-only control").data.shape == (1, 64, 64)


def test_maps_of_colours_have_one_value_for_each_pixel(viewer, dock, wait):
    viewer.add_image(np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8), rgb=True)
    widget = dock()
    switch_on(widget, "residual", "uncertainty", "control", "resolution")
    run(widget, wait)
    for kind in ("residual", "uncertainty", "noise-only control"):
        assert map_of(viewer, kind).data.shape == (32, 32)


def test_maps_of_a_finer_image(viewer, dock, wait, noisy):
    viewer.add_image(noisy, **UM)
    widget = dock("Super-resolve")
    switch_on(widget, "residual", "uncertainty")
    run(widget, wait)
    assert map_of(viewer, "residual").data.shape == (64, 64)
    assert map_of(viewer, "uncertainty").data.shape == (128, 128)
    assert np.allclose(map_of(viewer, "uncertainty").scale, 0.1)


def test_the_hole_map_warns_of_a_hole_that_nothing_determines(viewer, dock, wait, noisy):
    viewer.add_image(noisy, name="cells")
    holes = np.zeros(noisy.shape, int)
    holes[8:56, 8:56] = 1
    widget = dock("Inpaint")
    widget.inputs.mask.value = viewer.add_labels(holes)
    assert "resolution" not in widget.trust.switches
    switch_on(widget, "holes")
    run(widget, wait)
    ratio = map_of(viewer, "hole map").data
    assert np.array_equal(ratio > 0, holes > 0)
    assert "invented" in widget.trust.told
    assert figures(viewer)["holes"]["largest_ratio"] > 1
    assert "holes" not in dock("Denoise").trust.switches


# -------------------------------------------------------------------------------------------------------- control


def test_the_noise_only_control_follows_the_run(viewer, dock, wait, noisy):
    source = viewer.add_image(noisy, name="cells", **UM)
    widget = dock()
    switch_on(widget, "control")
    run(widget, wait)
    control = map_of(viewer, "noise-only control")
    assert control.data.shape == noisy.shape
    assert np.allclose(control.data_to_world((1, 1)), source.data_to_world((1, 1)))
    assert "Out of noise alone" in widget.trust.told
    assert figures(viewer)["noise_only_control"]["counts"] > 0
    assert "finished all 5 iterations" in widget.status
    assert len(restored(viewer)) == 1


def test_a_control_that_is_stopped_tells_nothing_and_the_result_stays(viewer, dock, wait, hold, noisy):
    hold("napari_dip.trust.iterate_noise_control", lambda progress: progress.iteration > 0)
    viewer.add_image(noisy, name="cells")
    widget = dock()
    switch_on(widget, "control")
    widget.run_button.click()
    wait(lambda: "Noise-only control: iteration" in widget.status)
    assert len(restored(viewer)) == 1
    widget.stop_button.click()
    wait(lambda: not widget.running)
    assert not maps(viewer)
    assert "too early to tell anything" in widget.trust.told


def test_a_run_that_is_stopped_has_no_control(viewer, dock, wait, noisy):
    viewer.add_image(noisy, name="cells")
    widget = dock(**LONG)
    switch_on(widget, "control")
    widget.run_button.click()
    wait(lambda: "iteration" in widget.status)
    widget.stop_button.click()
    wait(lambda: not widget.running)
    assert len(restored(viewer)) == 1
    assert not maps(viewer)


# -------------------------------------------------------------------------------------------------------- figures


def test_the_resolution_is_in_the_units_of_the_layer(viewer, dock, wait, noisy):
    viewer.add_image(noisy, **UM)
    widget = dock()
    switch_on(widget, "resolution")
    run(widget, wait)
    found = figures(viewer)["resolution"]
    assert found["unit"] == "µm"
    assert found["finest_before"] == found["finest_after"] == pytest.approx(0.8, rel=0.1)  # four pixels
    assert "µm" in widget.trust.told
    assert "no proof" in widget.trust.told


def test_what_cannot_be_told_is_said_and_the_rest_is_there(viewer, dock, wait, picture):
    viewer.add_image(picture)  # too small to split
    widget = dock()
    switch_on(widget, "resolution", "residual")
    run(widget, wait)
    assert "Not available" in widget.trust.told
    assert maps(viewer) == ["residual"]


@pytest.mark.parametrize("affine", [False, True])
def test_a_ground_truth_gives_figures_before_and_after(viewer, dock, wait, spots, noisy, affine):
    truth = viewer.add_image(spots * 3 + 7 if affine else spots, name="truth", visible=False)
    viewer.add_image(noisy, name="cells")
    widget = dock()
    assert widget.trust.affine.isHidden()
    widget.trust.truth.value = truth
    assert not widget.trust.affine.isHidden()
    widget.trust.affine.setChecked(affine)
    run(widget, wait)
    found = figures(viewer)["truth"]
    span = np.ptp(truth.data)
    error = np.mean((noisy - spots) ** 2) * (9 if affine else 1)
    assert found["before"]["psnr"] == pytest.approx(10 * np.log10(span**2 / error), abs=1)  # a fit shrinks noise
    assert found["truth_layer"] == "truth"
    for name in ("PSNR", "SSIM", "NRMSE", "Before", "After"):
        assert name in widget.trust.told


def test_a_ground_truth_of_a_stack_is_taken_at_the_slice_that_was_restored(viewer, dock, wait, spots, noisy):
    truth = viewer.add_image(np.stack([spots, spots[::-1]]), name="truth", visible=False)
    viewer.add_image(np.stack([noisy, noisy[::-1]]), name="stack")
    viewer.dims.set_point(0, 1)
    widget = dock()
    widget.trust.truth.value = truth
    run(widget, wait)
    assert figures(viewer)["truth"]["before"]["psnr"] > 20


def test_a_finer_truth_is_held_against_the_enlarged_measurement(viewer, dock, wait, spots, noisy):
    truth = viewer.add_image(np.kron(spots, np.ones((2, 2))), name="truth", visible=False)
    viewer.add_image(noisy, name="cells")
    widget = dock("Super-resolve")
    widget.trust.truth.value = truth
    run(widget, wait)
    assert figures(viewer)["truth"]["before"]["psnr"] > 20
    assert "enlarged" in widget.trust.told


def test_a_ground_truth_of_another_shape_is_said(viewer, dock, wait, noisy):
    truth = viewer.add_image(noisy[:40], name="truth", visible=False)
    viewer.add_image(noisy, name="cells")
    widget = dock()
    widget.trust.truth.value = truth
    run(widget, wait)
    assert "'truth' has shape (40, 64)" in widget.trust.told.replace("&#x27;", "'")


def test_the_last_result_can_be_looked_at_again(viewer, dock, wait, spots, noisy):
    truth = viewer.add_image(spots, name="truth", visible=False)
    viewer.add_image(noisy, name="cells")
    widget = dock()
    assert not widget.trust.look_button.isEnabled()
    run(widget, wait)
    switch_on(widget, "residual", "uncertainty", "control")
    widget.trust.truth.value = truth
    for _ in range(2):  # nothing is added twice
        widget.trust.look_button.click()
        wait(lambda: not widget._looker.waiting and not widget.running)
    assert sorted(maps(viewer)) == ["noise-only control", "residual"]
    assert "run again" in widget.trust.told  # of the uncertainty
    assert set(figures(viewer)) == {"noise_only_control", "residual_verdict", "truth"}


# -------------------------------------------------------------------------------------------------------- scripts


def test_a_script_gets_the_same_maps_and_figures(viewer, spots, noisy):
    viewer.add_image(noisy, name="cells", **UM)
    viewer.add_image(spots, name="truth", **UM)
    knobs = QUICK | {"channels": 4, "uncertainty": True}
    asked = {"residual": True, "resolution": True, "control": True, "truth": "truth", "last": True, "gain": 2.0}
    shown = restore_layer(viewer, "denoise", "cells", **asked, **knobs)
    assert shown.name == "cells denoised"
    assert maps(viewer) == ["residual", "uncertainty", "noise-only control"]
    record = shown.metadata[METADATA]
    assert set(record["trust"]) == {"residual_verdict", "uncertainty", "resolution", "truth", "noise_only_control"}
    assert record["camera"] == {"gain": 2.0}


def test_the_account_of_a_result_is_in_whole_sentences(noisy):
    result = denoise(noisy, **QUICK | {"channels": 4})
    told = account.details(result)
    assert [heading for heading, _ in told][:2] == ["Method", "Stopping rule"]
    assert all(sentence.endswith(".") for _, sentence in told)
