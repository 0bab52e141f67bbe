"""Coarse image and detail beside an enhanced layer, and a boost that it follows."""

import numpy as np
from qtpy.QtCore import Qt
from qtpy.QtTest import QTest
from qtpy.QtWidgets import QSlider

from napari_dip.viewer.restoration import METADATA


def test_the_enhanced_layer_follows_the_slider(viewer, dock, picture, wait):
    viewer.add_image(picture, name="cells")
    widget = dock("Enhance")
    widget.run()
    wait(lambda: not widget.running)
    layer, coarse, detail = (
        viewer.layers[name] for name in ("cells enhanced", "cells enhanced, coarse", "cells enhanced, detail")
    )
    assert np.allclose(layer.data, picture + 2 * detail.data, atol=1e-3)
    assert np.allclose(coarse.data + detail.data, picture, atol=1e-3)
    assert not coarse.visible
    widget.inputs.known["boost"].row.value = 4
    assert np.allclose(layer.data, picture + 4 * detail.data, atol=1e-3)
    assert (layer.metadata[METADATA]["boost"], layer.metadata[METADATA]["boost_of_the_run"]) == (4, 2)


def test_colours_stay_of_their_type_and_another_run_leaves_the_first_layer(viewer, dock, wait):
    colours = np.random.default_rng(0).integers(0, 255, (20, 24, 3)).astype(np.uint8)
    viewer.add_image(colours, name="cells", rgb=True)
    widget = dock("Enhance")
    for _ in range(2):
        widget.run()
        wait(lambda: not widget.running)
    first, second = viewer.layers["cells enhanced"], viewer.layers["cells enhanced [1]"]
    before = first.data.copy()
    widget.inputs.known["boost"].row.value = 6
    assert second.data.dtype == np.uint8
    assert np.array_equal(first.data, before)
    assert not np.array_equal(second.data, before)


def test_keys_move_the_slider_by_hundredths_and_tenths_of_its_range(dock):
    row = dock("Enhance").inputs.known["boost"].row
    slider = row.native.findChild(QSlider)
    for key, step in ((Qt.Key.Key_Right, 0.01), (Qt.Key.Key_PageUp, 0.1)):
        before = row.value
        QTest.keyClick(slider, key)
        assert np.isclose(row.value - before, step * (row.max - row.min), atol=1e-4)
        assert row.min < row.value < row.max
