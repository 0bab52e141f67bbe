"""Samples of the prior as a stack in the window."""

from napari_dip.viewer.restoration import METADATA


def test_drawing_adds_a_stack_and_says_how_self_similar_it_is(viewer, wait):
    widget = viewer.window.add_plugin_dock_widget("napari-dip", "Samples of the prior")[1]
    widget.generator.value, widget.count.value, widget.size.value = "decoder", 2, 32
    widget.draw_button.click()
    wait(lambda: len(viewer.layers))
    (layer,) = viewer.layers
    assert layer.data.shape == (2, 32, 32)
    assert layer.axis_labels == ("sample", "y", "x")
    assert layer.metadata[METADATA]["samples"]["generator"] == "decoder"
    assert "more self-similar" in widget.told


def test_skips_are_asked_for_where_the_generator_has_any(viewer, wait):
    widget = viewer.window.add_plugin_dock_widget("napari-dip", "Samples of the prior")[1]
    row = widget.skips.native
    assert not row.isHidden()
    widget.generator.value = "unet"
    assert row.isHidden()
    widget.generator.value = "hourglass"
    assert not row.isHidden()
