from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from zoo_core.errors import DataError, InputError
from zoo_core.images import as_image, image_size, read_image

RED = torch.tensor([200, 10, 30], dtype=torch.uint8)


def picture(mode: str = "RGB") -> Image.Image:
    """Return 6 x 4 pixels, the left half of colour RED (or its grey), the right half black."""
    image = Image.new("RGB", (6, 4))
    image.paste(tuple(RED.tolist()), (0, 0, 3, 4))
    return image.convert(mode, palette=Image.Palette.ADAPTIVE)


def test_rgb(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    assert image.dtype == torch.uint8
    assert image.shape == (3, 4, 6)
    assert torch.equal(image[:, 0, 0], RED)
    assert image[:, 3, 5].tolist() == [0, 0, 0]
    assert image_size(tmp_path / "a.png") == (4, 6)
    image.add_(1)  # its memory is its own


@pytest.mark.parametrize("mode", ["L", "1", "LA"])
def test_grey_becomes_three_equal_channels(tmp_path: Path, mode: str) -> None:
    picture(mode).save(tmp_path / "a.png")
    image = read_image(tmp_path / "a.png")
    expected = picture(mode).convert("L").getpixel((0, 0))
    assert image.shape == (3, 4, 6)
    assert image[:, 0, 0].tolist() == [expected] * 3


@pytest.mark.parametrize(("mode", "suffix"), [("P", "png"), ("RGBA", "png"), ("CMYK", "tif")])
def test_other_colours_become_rgb(tmp_path: Path, mode: str, suffix: str) -> None:
    picture(mode).save(tmp_path / f"a.{suffix}")
    image = read_image(tmp_path / f"a.{suffix}")
    assert image.shape == (3, 4, 6)
    assert (image[:, 0, 0].int() - RED.int()).abs().max() <= 1


def test_a_palette_with_transparency_reads_without_a_warning(tmp_path: Path) -> None:
    picture("P").save(tmp_path / "a.png", transparency=bytes(range(256)))
    assert read_image(tmp_path / "a.png").shape == (3, 4, 6)


def test_sixteen_bits_are_scaled_not_clipped(tmp_path: Path) -> None:
    Image.fromarray(np.full((4, 6), 128 * 256 + 77, dtype=np.uint16)).save(tmp_path / "a.png")
    assert set(read_image(tmp_path / "a.png").flatten().tolist()) == {128}


def test_exif_orientation_turns_the_image(tmp_path: Path) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90 degrees, clockwise
    picture().save(tmp_path / "a.png", exif=exif)
    image = read_image(tmp_path / "a.png")
    assert image.shape == (3, 6, 4)
    assert torch.equal(image[:, 0, 0], RED)
    assert image[:, 5, 0].tolist() == [0, 0, 0]
    assert image_size(tmp_path / "a.png") == (6, 4)


@pytest.mark.parametrize("read", [read_image, image_size])
def test_missing_and_foreign_files(tmp_path: Path, read: object) -> None:
    assert callable(read)
    with pytest.raises(DataError) as caught:
        read(tmp_path / "none.png")
    assert str(caught.value) == f"{tmp_path / 'none.png'}: there is no such image"
    (tmp_path / "text.png").write_text("no image")
    with pytest.raises(DataError) as caught:
        read(tmp_path / "text.png")
    assert str(caught.value) == f"{tmp_path / 'text.png'}: the image cannot be read: it is no image, or damaged"
    assert caught.value.path == tmp_path / "text.png"
    with pytest.raises(DataError, match=r"the image cannot be read: .*[Dd]irectory|Permission"):
        read(tmp_path)


@pytest.mark.parametrize("suffix", ["png", "jpg", "tif"])
def test_a_truncated_file(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    noise = np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)
    Image.fromarray(noise).save(path)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    with pytest.raises(DataError) as caught:
        read_image(path)
    assert str(caught.value).startswith(f"{path}: the image cannot be read: ")


def test_floats_are_refused(tmp_path: Path) -> None:
    Image.new("F", (6, 4)).save(tmp_path / "a.tif")
    message = "an image of floats has no known range; save it with 8 or 16 bits per channel"
    with pytest.raises(DataError) as caught:
        read_image(tmp_path / "a.tif")
    assert str(caught.value) == f"{tmp_path / 'a.tif'}: the image cannot be read: {message}"
    with pytest.raises(InputError) as refused:
        as_image(Image.new("F", (6, 4)))
    assert str(refused.value) == message


def test_every_source_gives_the_same(tmp_path: Path) -> None:
    picture().save(tmp_path / "a.png")
    array = np.array(picture())
    expected = torch.from_numpy(array).permute(2, 0, 1)
    read_only = array.copy()
    read_only.flags.writeable = False
    bgr = np.ascontiguousarray(array[:, :, ::-1])
    sources = [str(tmp_path / "a.png"), tmp_path / "a.png", picture(), array, read_only, bgr[:, :, ::-1], expected]
    for source in sources:
        assert torch.equal(as_image(source), expected)
    assert as_image(array).data_ptr() == array.ctypes.data  # a view
    assert as_image(array[:, :, 0])[:, 0, 0].tolist() == [200, 200, 200]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        (np.zeros((4, 6, 3)), "an image array must be uint8 with values 0 … 255, not float64"),
        (np.zeros((3, 4, 6), np.uint8), "an image array must be (H, W, 3) in RGB order or (H, W), not (3, 4, 6)"),
        (np.zeros((0, 6, 3), np.uint8), "an image array must be (H, W, 3) in RGB order or (H, W), not (0, 6, 3)"),
        (torch.zeros(3, 4, 6), "an image tensor must be uint8 with values 0 … 255, not torch.float32"),
        (torch.zeros(4, 6, 3, dtype=torch.uint8), "an image tensor must be (3, H, W) in RGB order, not (4, 6, 3)"),
        (7, "an image is a path, a PIL image, a numpy array (H, W, 3) or a tensor (3, H, W), not int"),
    ],
)
def test_what_is_no_image(source: object, message: str) -> None:
    with pytest.raises(InputError) as caught:
        as_image(source)  # type: ignore[arg-type]
    assert str(caught.value) == message


def test_a_damaged_pil_image(tmp_path: Path) -> None:
    path = tmp_path / "a.jpg"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (64, 64, 3), dtype=np.uint8)).save(path)
    path.write_bytes(path.read_bytes()[:1500])
    with Image.open(path) as image, pytest.raises(InputError, match="the image cannot be read: "):
        as_image(image)


@pytest.mark.shared
def test_the_grey_photograph_of_coco(shared: Path) -> None:
    folder = shared / "data" / "coco128_lightly" / "images" / "val2017"
    grey = []
    for path in sorted(folder.iterdir()):
        with Image.open(path) as image:
            grey += [path] if image.mode == "L" else []
    assert len(grey) == 1
    pixels = read_image(grey[0])
    assert torch.equal(pixels[0], pixels[1])
    assert torch.equal(pixels[0], pixels[2])
