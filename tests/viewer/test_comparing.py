"""A result held against its source, and the manners of the window: keys, selection, colours."""

from types import SimpleNamespace

import numpy as np
import pytest
from napari.utils._proxies import PublicOnlyProxy
from napari.utils.colormaps import ensure_colormap
from qtpy.QtCore import Qt
from qtpy.QtGui import QShortcut

from napari_dip.viewer.comparing import Comparing, camera_of, pair_of, show_source
from napari_dip.viewer.geometry import geometry_of
from napari_dip.viewer.layers import read
from napari_dip.viewer.restoration import METADATA, Asked
from tests.viewer.docks import LONG, restored


@pytest.fixture
def comparing(viewer, qtbot):
    def make(image, **look):
        source = viewer.add_image(
            image,
            name="cells",
            scale=(2,) * (image.ndim - bool(look.get("rgb"))),
            translate=(5,) * (image.ndim - bool(look.get("rgb"))),
            **look,
        )
        place = {"scale": source.scale, "translate": source.translate, **look}
        result = viewer.add_image(image, name="cells denoised", metadata={METADATA: {"source_layer": "cells"}}, **place)
        made = Comparing(viewer)
        qtbot.addWidget(made)
        return made, source, result

    return make


@pytest.mark.parametrize(("shape", "rgb"), [((20, 24), False), ((3, 20, 24), False), ((20, 24, 3), True)])
def test_the_source_lies_left_of_the_divider_wherever_it_is_dragged(viewer, comparing, shape, rgb):
    made, source, _ = comparing(np.random.default_rng(0).random(shape).astype(np.float32), rgb=rgb)
    made.switches["divider"].setChecked(True)
    left = made._divider.layer
    width = -2 if rgb else -1
    assert left.data.shape[width] == 12
    assert np.shares_memory(left.data, source.data)
    assert np.allclose(left.data_to_world([0] * left.ndim), source.data_to_world([0] * source.ndim))
    (drag,) = (each for each in viewer.mouse_drag_callbacks if each == made._divider._drag)
    event = SimpleNamespace(type="mouse_press", position=source.data_to_world([0] * (source.ndim - 1) + [11.5]))
    steps = drag(viewer, event)
    next(steps)
    event.type, event.position = "mouse_move", source.data_to_world([0] * (source.ndim - 1) + [17.5])
    next(steps)
    event.type = "mouse_release"
    assert next(steps, None) is None
    assert left.data.shape[width] == 18
    made.switches["divider"].setChecked(False)
    assert left not in viewer.layers
    assert drag not in viewer.mouse_drag_callbacks


@pytest.mark.parametrize("rgb", [False, True])
def test_contrast_is_offered_where_there_is_any(comparing, rgb):
    made, *_ = comparing(np.zeros((20, 24, 3), np.float32), rgb=rgb)
    assert made.switches["linked"].isHidden() == rgb
    assert not made.switches["profile"].isHidden()


def test_a_result_beside_its_source_is_compared_with_all_of_it(viewer, comparing, picture):
    made, source, result = comparing(picture)
    result.translate = (5, 5 + 2 * 30)
    made.switches["divider"].setChecked(True)
    assert made._divider.layer.data.shape == (20, 12)
    made._divider.move(99)
    assert np.array_equal(made._divider.layer.data, source.data)
    made.switches["divider"].setChecked(False)
    made.switches["profile"].setChecked(True)
    (_, before), (_, after) = (curve.getData() for curve in made._profile.curves)
    assert np.isfinite(before).all()
    assert not np.isfinite(after).any()


def test_what_the_divider_would_hide_is_seen_where_it_fails(viewer, comparing, picture, monkeypatch):
    made, *_ = comparing(picture)
    above = viewer.add_image(picture, name="above")
    monkeypatch.setattr("napari_dip.viewer.comparing.Divider", lambda *_: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        made._divider_toggled(True)
    assert above.visible


def test_the_divider_goes_with_its_layers(viewer, comparing, picture):
    made, source, result = comparing(picture)
    made.switches["divider"].setChecked(True)
    viewer.layers.remove(source)
    made.offer()
    assert list(viewer.layers) == [result]


def test_a_key_is_held_to_see_the_source(viewer, comparing, picture):
    _, source, result = comparing(picture)
    held = show_source(viewer)
    next(held)
    assert (source.visible, result.visible) == (True, False)
    next(held, None)
    assert (source.visible, result.visible) == (True, True)


@pytest.mark.parametrize("first", [True, False])
def test_the_key_shows_the_source_also_below_a_preview(viewer, comparing, picture, first):
    """In a first run there is no result yet, and an earlier image of the curve lies over the result."""
    _, source, result = comparing(picture)
    if first:
        viewer.layers.remove(result)
    shown = Asked(task="denoise", source=read(source), knobs={}).preview(viewer, picture, geometry_of(source), None)
    hidden = viewer.add_image(picture, visible=False)
    held = show_source(viewer)
    next(held)
    assert [layer.name for layer in viewer.layers if layer.visible] == [source.name]
    next(held, None)
    assert shown.visible
    assert not hidden.visible
    assert (pair_of(viewer) is None) == first, "a preview is no result to be compared"


def test_side_by_side_shows_the_two_alone_and_then_all_again(viewer, comparing, picture):
    truth = viewer.add_image(picture, name="other")
    made, source, result = comparing(picture)
    made.switches["side"].setChecked(True)
    assert [layer.visible for layer in (truth, source, result)] == [False, True, True]
    made.switches["side"].setChecked(False)
    assert truth.visible


def test_a_profile_reads_both_along_a_line_in_the_slice_in_view(viewer, comparing):
    ramp = np.broadcast_to(np.arange(24.0), (3, 20, 24)).astype(np.float32) + np.arange(3)[:, None, None]
    made, _, result = comparing(ramp)
    result.data = 2 * ramp
    viewer.dims.set_point(0, 7)  # in the middle: the layer begins at 5, and its slices are 2 apart
    made.switches["profile"].setChecked(True)
    (distance, below), (_, above) = (curve.getData() for curve in made._profile.curves)
    assert np.allclose(distance[-1], 24)  # half of 24 pixels of 2
    assert np.allclose(below, np.linspace(5.5, 17.5, len(below)) + 1)  # symmetrical: pixels 0 to 23 have 11.5 as centre
    assert np.allclose(above, 2 * below)
    before = made._profile.backgroundBrush().color().lightness()
    theme = viewer.theme
    viewer.theme = "light" if theme == "dark" else "dark"
    assert abs(made._profile.backgroundBrush().color().lightness() - before) > 100
    viewer.theme = theme
    line = made._profile.line
    line.data = [np.array([[10, 0], [10, 23]])]
    assert np.allclose(made._profile.curves[0].getData()[1][[0, -1]], (1, 24))
    made.switches["profile"].setChecked(False)
    assert line not in viewer.layers


@pytest.mark.parametrize("shape", [(1, 24), (20, 1), (2, 24)])
def test_a_profile_lies_in_the_middle_also_of_one_row(viewer, comparing, shape):
    made, source, _ = comparing(np.arange(np.prod(shape)).reshape(shape).astype(np.float32))
    made.switches["profile"].setChecked(True)
    line, values = made._profile.line, [curve.getData()[1] for curve in made._profile.curves]
    assert np.allclose(np.mean(values, axis=1), source.data.mean())
    ends = [source.world_to_data(line.data_to_world(end)) for end in line.data[0]]
    assert np.allclose(np.mean(ends, axis=0), (np.array(shape) - 1) / 2)


def test_contrast_follows_the_source_while_linked(viewer, comparing, picture):
    made, source, result = comparing(picture)
    made.switches["linked"].setChecked(True)
    source.contrast_limits = (90, 110)
    assert result.contrast_limits == [90, 110]
    made.switches["linked"].setChecked(False)
    source.contrast_limits = (80, 120)
    assert result.contrast_limits == [90, 110]


def test_contrast_is_linked_no_more_where_the_switch_is_hidden(viewer, comparing, picture):
    made, source, result = comparing(picture)
    made.switches["linked"].setChecked(True)
    colours = np.zeros((20, 24, 3), np.float32)
    viewer.add_image(colours, name="colours", rgb=True)
    viewer.add_image(colours, rgb=True, metadata={METADATA: {"source_layer": "colours"}})
    made.offer()
    assert made.switches["linked"].isHidden()
    assert not made.switches["linked"].isChecked()
    before = list(result.contrast_limits)
    source.contrast_limits = (90, 110)
    assert list(result.contrast_limits) == before


def test_keys_run_and_stop_and_tab_passes_folded_rows(viewer, dock, picture):
    viewer.add_image(picture)
    widget = dock()
    keys = {each.key().toString(): each.context() for each in widget.findChildren(QShortcut)}
    assert keys == dict.fromkeys(("Ctrl+Return", "Esc"), Qt.ShortcutContext.WidgetWithChildrenShortcut)
    assert widget.form.row("iterations").native.visibleRegion().isEmpty()
    assert not widget.form.row("iterations").native.isVisibleTo(widget)
    assert widget.form.row("quality").native.isVisibleTo(widget)


def test_a_result_is_selected_has_the_colours_of_the_preview_and_is_input_by_hand_alone(viewer, dock, wait, picture):
    source = viewer.add_image(picture, name="cells")
    widget = dock(**LONG)
    widget.live.hide.value = True
    widget.run_button.click()
    wait(lambda: any("preview" in layer.name for layer in viewer.layers))
    preview = next(layer for layer in viewer.layers if "preview" in layer.name)
    preview.colormap, preview.contrast_limits = "magma", (95, 105)
    widget.stop_button.click()
    wait(lambda: not widget.running)
    (result,) = restored(viewer)
    assert result.colormap == ensure_colormap("magma")
    assert result.contrast_limits == [95, 105]
    assert viewer.layers.selection.active == result
    assert widget.inputs.image.value == source
    assert not source.visible
    widget.inputs.image.value = result
    assert "'cells denoised'" in widget._sentence.text()


def test_the_preview_becomes_the_result_so_that_no_layer_is_taken_away(viewer, dock, wait, picture):
    viewer.add_image(picture, name="cells", scale=(0.2, 0.2))
    viewer.add_image(picture, name="cells denoised")
    widget = dock(iterations=5)
    viewer.layers.selection.active = viewer.layers["cells"]
    widget.inputs.image.value = viewer.layers["cells"]
    removed, previews = [], []
    viewer.layers.events.removed.connect(lambda event: removed.append(event.value.name))
    viewer.layers.events.inserted.connect(lambda event: previews.append(event.value))
    widget.run()
    wait(lambda: not widget.running)
    (result,) = restored(viewer)
    assert removed == []
    assert previews == [result]
    assert result.name == "cells denoised [1]"
    assert "preview" not in result.metadata["napari-dip"]
    assert result in widget.inputs.image.choices
    np.testing.assert_allclose(result.scale, 0.2)


@pytest.fixture
def part(viewer, comparing):
    """A source of 20 x 24 pixels, and a result of rows 5 to 15, columns 8 to 20 of it, below a snapshot."""
    made, source, whole = comparing(np.random.default_rng(0).random((20, 24)).astype(np.float32))
    viewer.layers.remove(whole)
    place = {"scale": (2, 2), "translate": (15, 21), "metadata": {METADATA: {"source_layer": "cells"}}}
    result = viewer.add_image(source.data[5:15, 8:20], name="cells denoised (part)", **place)
    viewer.layers.selection.active = result
    viewer.add_image(source.data[5:15, 8:20], name="snapshot", scale=(2, 2), translate=(15, 21))
    viewer.layers.selection.active = result
    return made, source, result


def test_the_divider_is_a_line_across_the_part_that_was_restored(viewer, part):
    made, source, _ = part
    made.switches["divider"].setChecked(True)
    left = made._divider.layer
    assert np.array_equal(left.data, source.data[5:15, 8:14])
    assert np.allclose(left.data_to_world((0, 0)), source.data_to_world((5, 8)))
    assert left.bounding_box.visible
    assert not viewer.layers["snapshot"].visible, "it would lie over both"
    made._divider.move(99)
    assert left.data.shape == (10, 12)
    made.switches["divider"].setChecked(False)
    assert viewer.layers["snapshot"].visible


def test_side_by_side_goes_to_the_part_and_comes_back(viewer, part):
    made, _, result = part
    camera = camera_of(viewer)
    camera.zoom, camera.center = 3.0, (0.0, 12.0, 30.0)
    made.switches["side"].setChecked(True)
    assert np.allclose(camera.center[-2:], np.mean(result.extent.world, axis=0), atol=1.1)
    made.switches["side"].setChecked(False)
    assert camera.zoom == 3.0
    assert np.allclose(camera.center[-2:], (12.0, 30.0))


@pytest.mark.parametrize("proxied", [False, True])
def test_side_by_side_is_fitted_again_to_a_smaller_canvas(viewer, comparing, picture, proxied):
    """The images were cut at their edges, as napari keeps the zoom; one that the user has chosen stays."""
    if not hasattr(viewer, "canvas"):
        pytest.skip("napari before 0.9 tells no size of its canvas")
    made, *_ = comparing(picture)
    if proxied:
        made._viewer = PublicOnlyProxy(viewer)
    camera, size = camera_of(viewer), viewer.canvas.size
    made.switches["side"].setChecked(True)
    zoom = camera.zoom
    viewer.canvas.size = size[0] // 2, size[1] // 2
    assert camera.zoom == pytest.approx(zoom / 2, rel=0.1)
    camera.zoom = 3.0
    viewer.canvas.size = size
    assert camera.zoom == 3.0
    made.switches["side"].setChecked(False)


def test_the_profile_of_a_part_begins_over_it_and_ends_with_it(viewer, part):
    made, _source, result = part
    made.switches["profile"].setChecked(True)
    line = made._profile.line
    ends = np.array([result.world_to_data(line.data_to_world(end)) for end in line.data[0]])
    assert ((ends > -0.5) & (ends < np.array(result.data.shape) - 0.5)).all()
    line.data = [np.array([[10.0, 2.0], [10.0, 22.0]])]
    (_, before), (_, after) = (curve.getData() for curve in made._profile.curves)
    assert np.isfinite(before).all()
    assert np.isnan(after).any()
    assert np.isfinite(after).any()


def test_the_line_of_a_profile_stays_side_by_side(viewer, comparing, picture):
    made, *_ = comparing(picture)
    made.switches["profile"].setChecked(True)
    viewer.add_image(picture, name="another")
    made.switches["side"].setChecked(True)
    assert made._profile.line.visible
    assert not viewer.layers["another"].visible
    made.switches["side"].setChecked(False)
