"""Parts of the user's own take the place of names, and an error says which law of ours one breaks, and the remedy."""

from __future__ import annotations

import contextlib
import json
import os
import pickle
import re
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from napari_dip import Settings, denoise, enhance, estimate, inpaint, restore_blocks
from napari_dip.again import Again
from napari_dip.command.cli import main
from napari_dip.command.options import parse, said
from napari_dip.core.forward import passed
from napari_dip.io import files
from napari_dip.tables.parts import OwnPart, part_in_file
from napari_dip.tables.settings import knobs
from tests.core.tiny import noisy, picture

QUICK: dict[str, Any] = {"preset": "denoise-small", "iterations": 3, "runs": 1, "progress": False, "device": "cpu"}
SMALL = {**QUICK, "channels": 4, "scales": 2, "code_channels": 4}
IMAGE = noisy(16, 20)


def network(arriving: int = 16, leaving: int = 1) -> nn.Module:
    return nn.Sequential(nn.Conv2d(arriving, 4, 3, padding=1), nn.ReLU(), nn.Conv2d(4, leaving, 1), nn.Sigmoid())


class Halving(nn.Module):
    """As a U-Net of any library: sides must be a multiple of 8, and it has its own normalisation."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(16, 4, 8, 8), nn.BatchNorm2d(4))
        self.up = nn.ConvTranspose2d(4, 1, 8, 8)

    def forward(self, code: Tensor) -> Tensor:
        return torch.sigmoid(self.up(self.down(code)) + code[:, :1])


def steps(image: Tensor) -> Tensor:
    return image.diff(dim=-1).square().mean()


def distance(predicted: Tensor, observed: Tensor) -> Tensor:
    return (predicted - observed).abs().mean()


def row_means(image: Tensor) -> Tensor:
    return image.mean(-1, keepdim=True).expand_as(image) * 0.5 + 0.5 * image


def smoothed(plane: np.ndarray, sigma: float) -> np.ndarray:
    return plane * (1 - sigma) + sigma * plane.mean()


def test_each_part_is_taken_and_recorded() -> None:
    result = denoise(
        IMAGE, generator=network(), regulariser=steps, regulariser_weight=0.1, fidelity=distance, operator=row_means,
        denoiser=smoothed, refine=2, **QUICK,
    )  # fmt: skip
    assert result.image.shape == IMAGE.shape
    assert np.isfinite(result.image).all()
    record = json.loads(json.dumps(result.record))
    assert set(record["own_parts"]) == {"generator", "regulariser", "fidelity", "operator", "denoiser"}
    assert "layers and its weights" in record["own_parts"]["generator"]
    assert record["operator"].partition("#")[0].endswith("test_own_parts.row_means")
    assert "then 2 steps of the denoiser 'smoothed'" in result.stop_reason
    with pytest.raises(ValueError, match="a record only names a part of one's own"):
        Settings.from_json(json.dumps(record))


#: One of each part, with the knobs that it needs.
EACH: dict[str, dict[str, Any]] = {
    "generator": {"generator": network()},
    "regulariser": {"regulariser": steps, "regulariser_weight": 0.1},
    "fidelity": {"fidelity": distance},
    "operator": {"operator": row_means},
    "denoiser": {"denoiser": smoothed, "refine": 2},
}


@pytest.mark.parametrize("name", EACH)
def test_settings_of_a_record_are_refused_without_the_part_that_it_names(name, tmp_path, capsys):
    record = denoise(IMAGE, **EACH[name], **QUICK).record
    file = tmp_path / "out.json"
    file.write_text(json.dumps(record))
    with pytest.raises(ValueError, match=f"{name}='.* a record only names a part of one's own"):
        Settings.from_json(file)
    part = EACH[name][name]
    given = {name: part} if name in knobs() else {"beside": {name: part}}
    settings = Settings.from_json(file, **given)
    assert settings.iterations == 3
    again = denoise(IMAGE, settings=settings, progress=False, **({} if name in knobs() else {name: part}))
    assert again.record["own_parts"] == record["own_parts"]
    command = ["denoise", "in.tif", str(tmp_path / "out.tif"), "--settings", str(file)]
    with pytest.raises(SystemExit):
        parse(command)
    assert re.search(f"{name}=.* --{name} FILE.py:NAME", capsys.readouterr().err)
    own = tmp_path / "mine.py"
    own.write_text("def mine(image):\n    return image\n")
    with pytest.warns(UserWarning, match=f"{name}='own_mine.mine#.* is not the part that the run had"):
        assert parse([*command, f"--{name}", f"{own}:mine"])[1]["iterations"] == 3


def test_the_file_of_a_part_is_run_once_beside_the_settings_of_a_run(tmp_path):
    own, ran, file = tmp_path / "mine.py", tmp_path / "ran", tmp_path / "out.json"
    log = f"with open({str(ran)!r}, 'a') as log:\n    log.write('once')\n"
    own.write_text(f"{log}def far(p, o):\n    return ((p - o) ** 2).mean()\n")
    file.write_text(json.dumps({"settings": {}, "own_parts": {"fidelity": OwnPart(distance).account}}))
    command = ["denoise", "in.tif", str(tmp_path / "out.tif"), "--settings", str(file), "--fidelity", f"{own}:far"]
    with pytest.warns(UserWarning, match="is not the part that the run had"):
        args, _ = parse(command)
    assert said(args)["fidelity"] is said(args)["fidelity"]
    assert ran.read_text() == "once"


def test_a_file_of_parts_is_run_once_for_each_time_that_it_was_written_also_where_it_fails(tmp_path, monkeypatch):
    own, ran = tmp_path / "mine.py", tmp_path / "ran"

    def write(text: str, time: int) -> None:
        own.write_text(f"with open({str(ran)!r}, 'a') as log:\n    log.write('x')\n{text}")
        os.utime(own, (time, time))

    write("1 / 0\n", 1)
    for name in ("regulariser", "fidelity", "fidelity"):
        with pytest.raises(ValueError, match="ZeroDivisionError: .*; mend the file and save it"):
            part_in_file(name, f"{own}:far")
    assert ran.read_text() == "x"
    write("class A:\n    def __call__(self, p, o): return p\n\nfar, near = A(), lambda p: p\n", 2)
    assert part_in_file("fidelity", f"{own}:far") is part_in_file("fidelity", f"{own}:far")
    assert part_in_file("regulariser", f"{own}:near").part(3) == 3
    assert ran.read_text() == "xx"
    (tmp_path / "other").mkdir()
    monkeypatch.chdir(tmp_path)
    before = part_in_file("fidelity", "mine.py:far")
    other = tmp_path / "other" / "mine.py"
    other.write_text("def far(p, o):\n    return 5\n")
    os.utime(other, (2, 2))
    monkeypatch.chdir(tmp_path / "other")
    assert part_in_file("fidelity", "mine.py:far").part(0, 0) == 5
    assert before.part(0, 0) == 0
    assert part_in_file("generator", f"{own}:A").partition("#")[2], "the source of a class is found in its own file"


def test_all_parts_that_are_lacking_are_named_at_once_with_where_each_is_given() -> None:
    record = {"settings": {"regulariser": str(OwnPart(steps))}, "own_parts": {"fidelity": OwnPart(distance).account}}
    words = r"--regulariser FILE.py:NAME --fidelity FILE.py:NAME.*regulariser=.*, beside={'fidelity': fidelity}"
    with pytest.raises(ValueError, match=words):
        Settings.of_record(record)
    with pytest.raises(ValueError, match="--fidelity FILE.py:NAME, or") as told:
        Settings.of_record(record, regulariser=steps, regulariser_weight=0.1)
    assert "--regulariser" not in str(told.value)
    made = Settings.of_record(record, beside=["fidelity"], regulariser=steps, regulariser_weight=0.1)
    assert made.regulariser == OwnPart(steps)


def test_a_part_that_is_the_same_under_another_name_gives_no_warning() -> None:
    weight = {"regulariser_weight": 0.1}
    text = f"elsewhere.{str(OwnPart(steps)).rpartition('.')[2]}"
    assert Settings.of_record({"regulariser": text, **weight}, regulariser=steps).regulariser == OwnPart(steps)
    with pytest.warns(UserWarning, match="regulariser='.*distance#.* is not the part that the run had, '.*steps#"):
        Settings.of_record({"regulariser": str(OwnPart(steps)), **weight}, regulariser=distance)


@pytest.mark.parametrize("name", EACH)
def test_a_part_that_a_script_or_a_command_cannot_say_is_not_copied_into_one(name):
    given = EACH[name]
    settings = Settings().changed(**{knob: value for knob, value in given.items() if knob in knobs()})
    said = {key: value for key, value in given.items() if key not in knobs()}
    run = Again(task="denoise", settings=settings, said=said, image="in.tif", layer="in", fingerprint="", space=2)
    for text in (run.python, run.command):
        with pytest.raises(ValueError, match=f"{name}='.* a record only names a part of one's own"):
            text()


def test_a_run_over_blocks_that_goes_on_has_the_same_parts_and_its_record_names_them(tmp_path):
    target = tmp_path / "out.zarr"
    restore_blocks("denoise", noisy(40, 40), target, fidelity=distance, **SMALL)
    with pytest.raises(ValueError, match=r"another run \(fidelity: .*distance#.* -> .*row_means#"):
        restore_blocks("denoise", noisy(40, 40), target, fidelity=row_means, **SMALL)
    with pytest.raises(ValueError, match="fidelity=.* a record only names a part of one's own"):
        Settings.from_json(target)


def test_each_part_changes_the_result_and_the_same_one_repeats_it() -> None:
    plain = denoise(IMAGE, **SMALL).image
    parts: list[dict[str, Any]] = [
        {"regulariser": steps, "regulariser_weight": 1.0},
        {"fidelity": distance},
        {"operator": row_means},
        {"denoiser": smoothed, "refine": 2},
    ]
    for part in parts:
        one, other = (denoise(IMAGE, **part, **SMALL).image for _ in range(2))
        assert np.array_equal(one, other)
        assert not np.allclose(one, plain, atol=1e-4), part


def test_a_network_is_fed_a_code_that_it_can_take_and_a_function_makes_one_by_the_seed() -> None:
    assert denoise(IMAGE, generator=Halving(), **QUICK).image.shape == IMAGE.shape

    def made(code_channels: int, channels: int, shape: tuple[int, ...]) -> nn.Module:
        return network(code_channels, channels)

    first, again, other = (denoise(IMAGE, generator=made, seed=seed, **QUICK).image for seed in (1, 1, 2))
    assert np.array_equal(first, again)
    assert not np.allclose(first, other, atol=1e-4)


def test_weights_of_a_network_are_where_each_fit_begins_and_stay_the_users() -> None:
    mine = network()
    before = [weight.clone() for weight in mine.parameters()]
    denoise(IMAGE, generator=mine, **QUICK)
    assert all(torch.equal(one, other) for one, other in zip(before, mine.parameters(), strict=True))
    assert OwnPart(mine) == OwnPart(mine)
    with torch.no_grad():
        next(mine.parameters()).add_(1)
    assert not torch.equal(before[0], next(mine.parameters()))
    assert OwnPart(mine) != OwnPart(network())


def test_an_operator_may_have_an_image_of_another_shape_and_scale_with_zero() -> None:
    def halved(image: Tensor) -> Tensor:  # of which ones become 0.5 to 1.5: no constant passes
        rows = image.unflatten(2, (-1, 2)).mean(3)
        return rows * torch.linspace(0.5, 1.5, rows.shape[3])

    halved.image_shape = lambda measured: (2 * measured[0], measured[1])  # type: ignore[attr-defined]
    truth = 3 + picture(32, 16)
    measured = halved(torch.from_numpy(truth)[None, None])[0, 0].numpy()
    result = denoise(measured, operator=halved, **{**SMALL, "preset": "auto", "iterations": 300, "channels": 8})
    assert result.image.shape == (32, 16)
    assert result.settings.output == "linear"
    assert abs(result.image.mean() - truth.mean()) < 0.2


def test_a_part_travels_with_what_it_is_and_its_estimate_is_that_of_its_layers() -> None:
    part = OwnPart(network())
    part.file = "mine.py:network"
    again = pickle.loads(pickle.dumps(part))
    assert again == part
    assert again.file == part.file == "mine.py:network"
    assert torch.equal(next(again.part.parameters()), next(part.part.parameters()))
    cost = estimate((64, 64), generator=network(), preset="denoise-small", device="cpu", iterations=9)
    more = estimate((64, 64), generator=Halving(), preset="denoise-small", device="cpu", iterations=90)
    assert 0 < cost.seconds < more.seconds


class AsLibrariesDo(nn.Module):
    """Layers called in the ways of others: a size of one number, a padding by name, a dilation, a weight by name."""

    def __init__(self) -> None:
        super().__init__()
        self.down = nn.Sequential(nn.Conv2d(16, 8, 3, padding="same", dilation=2), nn.MaxPool2d(2))
        self.weight = nn.Parameter(torch.zeros(1, 8, 1, 1))

    def forward(self, code: Tensor) -> Tensor:
        rough = nn.functional.conv2d(self.down(code), weight=self.weight)
        return nn.functional.interpolate(rough, size=code.shape[2:]).sigmoid()


def test_what_a_network_of_a_library_costs_is_counted_however_it_calls_its_layers() -> None:
    method = Settings().changed(generator=AsLibrariesDo(), code_channels=16).method
    found = passed(method, 16, 1, (32, 64))
    assert found.flops == 2 * (32 * 64 * 8 * 16 * 9 + 16 * 32 * 8)
    assert denoise(IMAGE, generator=AsLibrariesDo(), **QUICK).image.shape == IMAGE.shape


def test_a_band_behind_filters_that_overlap_is_told_from_its_neighbours() -> None:
    overlap = torch.tensor([[0.8, 0.2, 0, 0], [0.1, 0.8, 0.1, 0], [0, 0.1, 0.8, 0.1], [0, 0, 0.2, 0.8]])

    def filters(image: Tensor) -> Tensor:
        return torch.einsum("fb,nbyx->nfyx", overlap.to(image), image)

    y, x = np.indices((24, 24))
    lit = np.exp(-((y - 11) ** 2 + (x - 12) ** 2) / 30)  # in the second band alone
    seen, mosaic = overlap[:, 1, None, None].numpy() * lit, np.full((4, 24, 24), np.nan)
    for band, (row, column) in enumerate(np.ndindex(2, 2)):
        mosaic[band, row::2, column::2] = seen[band, row::2, column::2]
    knobs: dict[str, Any] = {**SMALL, "preset": "inpaint-small", "iterations": 200, "refine": 0, "channels": 8}
    knobs |= {"channel_axis": 0, "stop": "iterations", "skip_bad_pixels": False}
    slopes = [[np.polyfit(lit.ravel(), band.ravel(), 1)[0] for band in inpaint(mosaic, operator=each, **knobs).image]
              for each in (filters, None)]  # fmt: skip
    apart, leaking = (each[0] / each[1] for each in slopes)
    assert leaking > 0.15  # of the light that the first filter lets pass: 0.2 / 0.8
    assert apart < leaking / 2


def clipped(image: Tensor) -> Tensor:
    return image.clamp(max=0.5)


def cut(image: Tensor) -> Tensor:
    return image[..., 1:]


class Wrong(torch.autograd.Function):
    """A scaling whose gradient is another one."""

    @staticmethod
    def forward(ctx: Any, image: Tensor) -> Tensor:  # type: ignore[override]
        return image * 1.0

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> Tensor:  # type: ignore[override]
        return gradient * 2


class Twice(nn.Conv2d):
    """Two images of one code."""

    def __init__(self) -> None:
        super().__init__(16, 1, 1)

    def forward(self, code: Tensor) -> Any:
        image = super().forward(code)
        return image, image


def shaped(shape: Any) -> Any:
    """An instrument that says this shape of its image."""
    instrument = nn.Identity()
    instrument.image_shape = shape
    return instrument


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ({"operator": clipped}, r"must be linear: .* differ by 0\.\d+ of their size; take out"),
        ({"operator": cut}, r"must make a measurement .* not \(1, 1, 16, 19\); .* image_shape"),
        ({"operator": lambda image: image.detach()}, "must be differentiable"),
        ({"operator": Wrong.apply}, "must have its adjoint as gradient: .* mend its backward"),
        (
            {"operator": lambda image: 40 * image},
            "must keep the scale: .* and the measurement by 40",
        ),
        (
            {"operator": lambda image: image.numpy()},
            r"operator=.* as a tensor of torch, not a numpy.ndarray; .* by torch",
        ),
        ({"operator": lambda image: None}, "operator=.* as a tensor of torch, not None; return it"),
        ({"operator": lambda image: image.mul_(1)}, "operator=.* changes it in place; make a new tensor"),
        ({"operator": lambda: 0}, "operator=.* fails on an image .*: TypeError: .* it gets one tensor"),
        ({"operator": lambda image: 0 * image}, "must keep the scale: .* behind it, .*; let some light pass"),
        ({"operator": lambda image: image / 0}, "must be finite: .* infinity; take out .* division by zero"),
        ({"operator": nn.Identity}, "operator=.*Identity.* must be an object .* not a class; make one, as by Identity"),
        ({"operator": 3}, "operator=3 must be a callable"),
        ({"operator": "blur"}, "operator='blur' must be an object, .* not a name"),
        ({"operator": shaped((12,))}, r"image_shape .* 2 whole numbers .* measurement \(16, 20\), not \(12,\)"),
        ({"operator": shaped("ab")}, "image_shape .* 2 whole numbers .* not 'ab'"),
        ({"operator": shaped((16.5, 20))}, r"image_shape .* 2 whole numbers .* not \(16.5, 20\)"),
        ({"operator": shaped(lambda measured: (-1, 20))}, r"image_shape .* from 1 .* not \(-1, 20\)"),
        ({"operator": shaped(lambda: 0)}, r"image_shape .* fails: TypeError"),
        (
            {"generator": network(leaving=2)},
            r"must make an image .*: it gives \(1, 2, 16, 20\)",
        ),
        ({"generator": network(arriving=5)}, "set code_channels to what it takes"),
        ({"generator": network().double()}, "weights of torch.float64.* say .float()"),
        ({"generator": Twice()}, "it gives a tuple"),
        ({"generator": nn.Identity(), "code_channels": 1}, "has no weight to fit"),
        ({"generator": nn.Sequential(network(), nn.Dropout(0.5))}, "same image for the same code.*dropout"),
        ({"regulariser": torch.abs, "regulariser_weight": 1.0}, "must give one number .* take its mean"),
        ({"regulariser": steps}, "no effect with regulariser_weight=0"),
        ({"fidelity": lambda predicted, observed: -distance(predicted, observed)}, "must grow with the distance"),
        ({"fidelity": lambda predicted, observed: predicted.mean()}, "distance: .* is subtracted.* must compare them"),
        ({"fidelity": lambda predicted, observed: (predicted - 0.5).abs().mean()}, "must grow with the distance"),
        ({"fidelity": lambda predicted: predicted.mean()}, r"fidelity=.* fails .* called with \(predicted, observed\)"),
        ({"regulariser": lambda: 0, "regulariser_weight": 1.0}, "regulariser=.* fails .* called with the image alone"),
        ({"regulariser": lambda image: None, "regulariser_weight": 1.0}, "regulariser=.* not None; return it"),
        (
            {"regulariser": lambda image: image.mul_(2).mean(), "regulariser_weight": 1.0},
            "regulariser=.* changes it in place; make a new tensor",
        ),
        ({"fidelity": lambda predicted, observed: observed.sub_(predicted).square().mean()}, "changes it in place"),
        ({"fidelity": distance, "noise": "impulse"}, "noise='impulse' has no effect with fidelity="),
        ({"denoiser": lambda plane, sigma: (plane * 255).astype(np.uint8), "refine": 1}, "not uint8; .*astype.float"),
        (
            {"denoiser": lambda plane, sigma: plane * 255, "refine": 1},
            r"must keep the scale: .* scale of the plane .* 0\.\.1",
        ),
        ({"denoiser": lambda plane, sigma: smoothed(plane, sigma) - plane, "refine": 1}, "without its noise"),
        (
            {"denoiser": lambda plane, sigma: 1 / 0, "refine": 1},
            r"denoiser=.* fails .*ZeroDivisionError.* \(plane, sigma\)",
        ),
        (
            {"denoiser": lambda plane, sigma: None, "refine": 1},
            r"denoiser=.* must keep the shape.* makes None; return an array",
        ),
        ({"denoiser": lambda plane, sigma: plane[1:], "refine": 1}, r"must keep the shape: .*\(15, 20\)"),
        ({"denoiser": smoothed}, "no effect with refine=0"),
        ({"operator": row_means, "tile": 16}, "leave tile out"),
    ],
)
def test_the_law_that_a_part_breaks_is_named_with_a_remedy(part: dict[str, Any], words: str) -> None:
    with pytest.raises((ValueError, TypeError), match=words):
        denoise(IMAGE, **part, **QUICK)


class Later:
    """A part that does as it should until the run is under way, and then something else."""

    def __init__(self, what: Any) -> None:
        self.calls, self.what = 0, what

    def __call__(self, image: Tensor, *observed: Tensor) -> Any:
        self.calls += 1
        value = (image - observed[0]).square().mean() if observed else image
        return self.what(value) if self.calls > 11 else value


@pytest.mark.parametrize(
    ("name", "what", "words"),
    [
        ("operator", lambda image: image[..., 1:], r"\(1, 1, 16, 20\) at first, and then \(1, 1, 16, 19\)"),
        ("operator", lambda image: {}["lost"], "fails on an image .* KeyError: 'lost'"),
        ("fidelity", lambda loss: None, r"\(\) at first, and then None"),
        ("fidelity", lambda loss: loss * float("nan"), r"not finite.* or mend fidelity="),
    ],
)
def test_a_part_that_fails_during_the_run_is_named(name: str, what: Any, words: str) -> None:
    knobs = {**SMALL, "iterations": 20, "stop": "iterations"}
    with pytest.raises((ValueError, ArithmeticError), match=f"{name}=.*{words}" if "mend" not in words else words):
        denoise(IMAGE, **{name: Later(what)}, **knobs)


@pytest.mark.parametrize("on_trial", [True, False])
def test_memory_that_a_part_lacks_is_no_error_of_the_part(on_trial: bool) -> None:
    calls = []

    def greedy(plane: np.ndarray, sigma: float) -> np.ndarray:
        calls.append(sigma)
        if on_trial or len(calls) > 1:
            raise MemoryError("no more")
        return plane

    knobs = {"refine": 2, "denoiser": greedy, **SMALL}
    if on_trial:
        with pytest.raises(MemoryError, match="no more"):
            inpaint(IMAGE, picture(16, 20) > 0.9, **knobs)
        return
    result = inpaint(IMAGE, picture(16, 20) > 0.9, **knobs)
    (event,) = result.history.events
    assert "memory ran out over the denoiser" in event.message


def test_a_loss_may_have_axes_of_one_element() -> None:
    one = denoise(IMAGE, fidelity=lambda p, o: (p - o).square().mean().reshape(1, 1), **SMALL)
    assert np.array_equal(one.image, denoise(IMAGE, fidelity=nn.MSELoss(), **SMALL).image)


def test_a_class_of_modules_is_a_function_that_makes_one() -> None:
    class Pixels(torch.nn.Module):
        def __init__(self, _: int, channels: int, shape: tuple[int, ...]) -> None:
            super().__init__()
            self.pixels = torch.nn.Parameter(torch.rand(1, channels, *shape))

        def forward(self, _: torch.Tensor) -> torch.Tensor:
            return self.pixels.sigmoid()

    assert np.isfinite(denoise(IMAGE, generator=Pixels, **QUICK).image).all()


def test_a_method_without_the_part_refuses_it() -> None:
    with pytest.raises(ValueError, match="fidelity=.* is for priors alone, not for similar patches"):
        denoise(IMAGE, fidelity=distance, preset="denoise-patches", progress=False)
    with pytest.raises(ValueError, match="operator=.* is not for task='enhance'.* by task='denoise' first"):
        enhance(IMAGE, operator=row_means, progress=False)
    filled = inpaint(IMAGE, picture(16, 20) > 0.9, denoiser=smoothed, preset="inpaint-patches", progress=False)
    assert np.isfinite(filled.image).all()


def test_blocks_take_parts_and_refuse_an_operator(tmp_path: Any) -> None:
    large = noisy(40, 40)
    penalty = {"regulariser": steps, "regulariser_weight": 0.1}
    restored = restore_blocks("denoise", large, tmp_path / "out.zarr", **penalty, **SMALL)
    assert restored.complete
    assert restored.record["settings"]["regulariser"].endswith(OwnPart(steps))
    assert np.isfinite(np.asarray(restored.array)).all()
    with pytest.raises(TypeError, match="operator=.* is not for blocks"):
        restore_blocks("denoise", large, tmp_path / "other.zarr", operator=row_means, **SMALL)


def test_the_command_line_takes_parts_by_a_name_in_a_python_file(tmp_path, capsys):
    file = tmp_path / "mine.py"
    file.write_text(
        "def bending(image):\n    return image.diff(n=2, dim=-1).abs().mean()\n\n\n"
        "def far(predicted, observed):\n    return (predicted - observed).abs().mean()\n"
    )
    np.save(tmp_path / "in.npy", np.random.default_rng(0).random((16, 16)))
    command = ["denoise", str(tmp_path / "in.npy"), str(tmp_path / "out.tif"), "--preset", "denoise-small"]
    command += ["--iterations", "3", "--regulariser-weight", "0.1", "--runs", "1", "--channels", "4", "--scales", "2"]
    parts = ["--regulariser", f"{file}:bending", "--fidelity", f"{file}:far"]
    assert main([*command, *parts]) == 0
    own = files.read_record(tmp_path / "out.tif")["own_parts"]
    assert own["regulariser"].startswith("own_mine.bending#")
    assert own["fidelity"].startswith("own_mine.far#")
    assert main([*command, "--overwrite", "--fidelity", f"{file}:none"]) == 1
    assert "there is no none in" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main([*command, "--regulariser", f"{tmp_path / 'absent.py'}:a"])
    assert "a Python file that there is" in capsys.readouterr().err
    again = [*command[:2], str(tmp_path / "again.tif"), "--settings", str(tmp_path / "out.tif")]
    with pytest.raises(SystemExit):
        main(again)
    assert "--regulariser FILE.py:NAME" in capsys.readouterr().err
    assert main([*again, *parts]) == 0
    assert files.read_record(tmp_path / "again.tif")["own_parts"] == own


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("def gen(:\n", r"mine.py fails as it is run: SyntaxError: .*line 1"),
        ("import nothing_of_this_name\n", r"mine.py fails as it is run: ModuleNotFoundError: No module"),
        ("gen = 5\n", r"mine.py:gen' is 5, not a function, a class or a torch.nn.Module"),
        (
            "def gen(image):\n    return image\n",
            r"generator='own_mine.gen#.* called with \(code_channels, channels, shape\).*: TypeError: .*; give a torch",
        ),
        (
            "import torch\n\nclass gen(torch.nn.Conv2d):\n    def __init__(self):\n        super().__init__(1, 1, 1)\n",
            r"fails as it is called with .*; give one module of this class, made, or a function",
        ),
    ],
)
def test_what_is_wrong_with_a_file_of_the_users_is_said_in_a_line(text, words, tmp_path, capsys):
    (tmp_path / "mine.py").write_text(text)
    np.save(tmp_path / "in.npy", np.random.default_rng(0).random((16, 16)))
    names = [str(tmp_path / name) for name in ("in.npy", "out.tif")]
    with contextlib.suppress(SystemExit):  # of what is wrong with the words of a command
        assert main(["denoise", *names, "--generator", f"{tmp_path / 'mine.py'}:gen", "--preset", "denoise-small"]) == 1
    said = capsys.readouterr().err.splitlines()
    assert re.search(words, said[-1])
    assert not any("Traceback" in line for line in said)
