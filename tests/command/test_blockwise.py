"""The commands on OME-Zarr: what they write, refuse, and go on with."""

from __future__ import annotations

import signal
from pathlib import Path

import numpy as np
import pytest
import tifffile
import zarr

from napari_dip import restore_blocks, trust
from napari_dip.command.cli import DONE, FAILED, main
from napari_dip.io.arrays import open_source
from napari_dip.io.ngff import Calibration
from napari_dip.run.blocks.restore import BlockProgress
from napari_dip.terminal import Bar, Stop
from tests.run.blocks.test_large import PRIOR, ome_zarr, saved, stack

TINY = ["--preset", "denoise-small", "--runs", "1", "--iterations", "3", "--device", "cpu"]
TINY += ["--channels", "4", "--scales", "2", "--code-channels", "4"]


def test_a_zarr_is_restored_as_the_api_does_and_its_calibration_kept(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path, target = ome_zarr(stack(2, 20, 24), tmp_path / "in.zarr", 3), tmp_path / "out.zarr"
    assert main(["denoise", str(path), str(target), *TINY]) == DONE
    assert "out.zarr: finished 2 blocks" in capsys.readouterr().out
    expected = restore_blocks("denoise", path, tmp_path / "api.zarr", **PRIOR)
    np.testing.assert_array_equal(zarr.open_array(target / "0", mode="r")[:], expected.array[:])
    assert open_source(target).calibration == open_source(path).calibration
    assert main(["denoise", str(path), str(target), *TINY]) == DONE
    assert "was finished before" in capsys.readouterr().out
    assert main(["denoise", str(path), str(target), *TINY, "--seed", "1"]) == FAILED
    assert "holds another run (seed: left out -> 1)" in capsys.readouterr().err


def test_quiet_is_silent_on_stderr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = saved(stack(2, 20, 24), tmp_path / "in.zarr")
    assert main(["denoise", path, str(tmp_path / "out.zarr"), "--quiet", *TINY]) == DONE
    said = capsys.readouterr()
    for words in ("finished 2 blocks", "\nNoise: ", "\nMethod: ", " iterations in 2 blocks.\n"):
        assert words in said.out
    assert said.err == ""


def test_a_run_that_was_stopped_has_failed_until_it_goes_on_to_the_end(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    path, target = saved(stack(3, 20, 24), tmp_path / "in.zarr"), tmp_path / "out.zarr"
    words = ["denoise", path, str(target), *TINY]
    show = Bar.show_blocks

    def interrupt(bar: Bar, progress: BlockProgress) -> None:
        show(bar, progress)
        if (progress.step, progress.done) == ("fit", 1):
            signal.raise_signal(signal.SIGINT)

    with monkeypatch.context() as patched:
        patched.setattr(Bar, "show_blocks", interrupt)
        patched.setattr(Stop, "_handle", lambda stop, *_: setattr(stop, "_asked", True))
        assert main(words) == FAILED
    said = capsys.readouterr().out
    assert "stopped by the user" in said
    assert "the same call goes on" in said
    assert main(words) == DONE


def test_a_volume_is_a_block_on_request(tmp_path: Path) -> None:
    path, target = saved(stack(5, 20, 24), tmp_path / "in.zarr"), tmp_path / "out.zarr"
    assert main(["denoise", path, str(target), "--volume", *TINY]) == DONE
    assert zarr.open_group(target, mode="r").attrs["napari-dip"]["blocks"] == 1


def test_an_image_file_becomes_a_calibrated_zarr(tmp_path: Path) -> None:
    tifffile.imwrite(
        tmp_path / "in.tif",
        stack(3, 20, 24),
        imagej=True,
        resolution=(4, 4),
        metadata={"axes": "ZYX", "unit": "um", "spacing": 2.0},
    )
    assert main(["denoise", str(tmp_path / "in.tif"), str(tmp_path / "out.zarr"), *TINY]) == DONE
    found = open_source(tmp_path / "out.zarr").calibration
    assert (found.axes, found.units) == ("zyx", ("micrometer",) * 3)
    assert found.scale == pytest.approx((2, 0.25, 0.25))


def test_channels_of_an_image_file_are_those_of_the_zarr(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    channel = {"Name": ["DAPI", "GFP"], "Color": [65535, 16711935], "EmissionWavelength": [461.0, 509.0]}
    metadata = {"axes": "CYX", "PhysicalSizeX": 0.3, "PhysicalSizeXUnit": "µm", "Channel": channel}
    tifffile.imwrite(tmp_path / "in.ome.tif", stack(2, 20, 24), photometric="minisblack", metadata=metadata)
    assert main(["denoise", str(tmp_path / "in.ome.tif"), str(tmp_path / "out.zarr"), "--quiet", *TINY]) == DONE
    found = open_source(tmp_path / "out.zarr").calibration
    assert (found.axes, found.scale[-1]) == ("cyx", 0.3)
    assert [(each["label"], each["color"]) for each in found.omero["channels"]] == [
        ("DAPI", "0000FF"),
        ("GFP", "00FF00"),
    ]
    said = capsys.readouterr().err
    assert (said.count("\n"), "out.zarr cannot hold wavelengths; a .ome.tif does" in said) == (1, True)


def test_a_mask_may_be_an_image_or_a_zarr(tmp_path: Path) -> None:
    mask = np.zeros((20, 24), np.uint8)
    mask[4:8, 4:8] = 255
    path = saved(stack(2, 20, 24), tmp_path / "in.zarr")
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    tifffile.imwrite(tmp_path / "known.tif", 255 - mask)
    saved(mask, tmp_path / "mask.zarr")
    words = ["--preset", "inpaint-small", *TINY[2:]]
    results = []
    for i, said in enumerate((["mask.tif"], ["mask.zarr"], ["known.tif", "--mask-is-known"])):
        target = tmp_path / f"out{i}.zarr"
        assert main(["inpaint", path, str(target), "--mask", str(tmp_path / said[0]), *said[1:], *words]) == DONE
        results.append(zarr.open_array(target / "0", mode="r")[:])
    np.testing.assert_array_equal(results[0], results[1])
    np.testing.assert_array_equal(results[0], results[2])


def test_channels_together_a_guide_a_truth_and_a_control_are_those_of_the_api(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    values, truth = stack(2, 3, 20, 24), stack(2, 3, 20, 24) + 3.0
    truth[0, 1, :4] = np.nan
    path, target = saved(values, tmp_path / "in.zarr"), tmp_path / "out.zarr"
    guide, known = saved(stack(20, 24), tmp_path / "guide.zarr"), saved(truth, tmp_path / "truth.zarr")
    calibration = Calibration(axes="tcyx", scale=(1,) * 4, translation=(0,) * 4, units=("",) * 4)
    knobs = {**PRIOR, "channel_axis": 1, "guide": guide, "code": "guide", "calibration": calibration}
    expected = restore_blocks("denoise", path, tmp_path / "api.zarr", **knobs)
    source = tmp_path / "named.zarr"
    restore_blocks("denoise", values * 0, source, calibration=calibration, **PRIOR)  # an image with axes
    zarr.open_array(source / "0", mode="r+")[:] = values
    words = ["--together", "c", "--guide", guide, "--truth", known, "--noise-control"]
    assert main(["denoise", str(source), str(target), *words, *TINY]) == DONE
    said = capsys.readouterr().out
    np.testing.assert_array_equal(zarr.open_array(target / "0", mode="r")[:], expected.array[:])
    figures = trust.before_and_after(expected, known)
    assert [*figures] == ["Before", "After"]
    for when, found in figures.items():
        assert f"{when}: {found}." in said
    whole = trust.compare(
        expected.array[:], np.nan_to_num(truth), mask=np.isnan(truth), channel_axis=1, leading_axes=1, data_range=1
    )
    assert trust.compare(
        expected.array, known, mask=np.isnan(truth), channel_axis=1, leading_axes=1, data_range=1
    ).psnr == pytest.approx(whole.psnr)
    assert f"Noise-only control: {trust.noise_control(expected, progress=False).invention.sentence}." in said
    assert main(["denoise", str(source), str(target), "--together", "z", *TINY]) == FAILED
    assert "--together Z: " in capsys.readouterr().err


@pytest.mark.parametrize(
    ("target", "more", "words"),
    [
        ("out.zarr", ["--resolution"], "--resolution is not available for an OUT.zarr"),
        ("out.zarr", ["--volume"], "needs a z axis, but"),
        ("in.zarr", [], "exists, and is no run|is the source"),
    ],
)
def test_what_does_not_go_with_blocks_is_refused(
    tmp_path: Path, target: str, more: list[str], words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    path = saved(stack(20, 24), tmp_path / "in.zarr")
    assert main(["denoise", path, str(tmp_path / target), *more, *TINY]) == FAILED
    error = capsys.readouterr().err
    assert any(part in error for part in words.split("|")), error
    assert [each.name for each in tmp_path.iterdir()] == ["in.zarr"]


def test_a_scheduler_is_for_blocks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tifffile.imwrite(tmp_path / "in.tif", stack(20, 24))
    words = ["denoise", str(tmp_path / "in.tif"), str(tmp_path / "out.tif"), "--scheduler", "tcp://127.0.0.1:1", *TINY]
    assert main(words) == FAILED
    assert "--scheduler is for OUT.zarr" in capsys.readouterr().err
