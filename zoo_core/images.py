"""Images from anywhere to one form: uint8 RGB tensors (3, H, W)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
import torch
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from zoo_core.errors import DataError, InputError
from zoo_core.types import Size

ImageSource: TypeAlias = "str | Path | Image.Image | np.ndarray[Any, Any] | Tensor"
"""What `as_image` accepts."""

_SIDEWAYS = (5, 6, 7, 8)  # values of the EXIF tag "Orientation" that exchange height and width
_ORIENTATION = 0x0112


def as_image(source: ImageSource) -> Tensor:
    """Return an image as uint8 RGB (3, H, W).

    Args:
        source: a path; a PIL image of any mode; a uint8 array (H, W, 3) in RGB order, or (H, W) grey;
            a uint8 tensor (3, H, W) in RGB order.

    Raises:
        DataError: a file that is missing or no readable image.
        InputError: anything else that is not as above.
    """
    if isinstance(source, str | os.PathLike):
        return read_image(source)
    if isinstance(source, Image.Image):
        try:
            return _from_pil(source)
        except OSError as error:  # it is decoded only now
            raise InputError(f"the image cannot be read: {error}") from error
    if isinstance(source, np.ndarray):
        return _from_array(source)
    if isinstance(source, Tensor):
        return _from_tensor(source)
    raise InputError(f"an image is a path, a PIL image, a numpy array (H, W, 3) or a tensor (3, H, W), not {_kind(source)}")


def read_image(path: str | Path) -> Tensor:
    """Return the image in a file as uint8 RGB (3, H, W), turned upright as its EXIF tag says; alpha is dropped.

    Raises:
        DataError: the file is missing, no image, damaged, or larger than Pillow's limit.
    """
    try:
        with Image.open(path) as image:
            return _from_pil(image)
    except FileNotFoundError:
        raise DataError("there is no such image", path) from None
    except Exception as error:  # decoders raise almost anything on damaged bytes
        raise _unreadable(path, error) from error


def image_size(path: str | Path) -> Size:
    """Return the (height, width) that `read_image` will have, from the header alone.

    Raises:
        DataError: the file is missing or no image.
    """
    try:
        with Image.open(path) as image:
            width, height = image.size
            sideways = image.getexif().get(_ORIENTATION) in _SIDEWAYS
    except FileNotFoundError:
        raise DataError("there is no such image", path) from None
    except Exception as error:  # decoders raise almost anything on damaged bytes
        raise _unreadable(path, error) from error
    return (width, height) if sideways else (height, width)


def _unreadable(path: str | Path, error: Exception) -> DataError:
    reason = "it is no image, or damaged" if isinstance(error, UnidentifiedImageError) else str(error)
    return DataError(f"the image cannot be read: {reason}", path)


def _from_pil(image: Image.Image) -> Tensor:
    if image.getexif().get(_ORIENTATION, 1) != 1:
        image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I"):
        image = Image.fromarray(_to_eight_bits(np.asarray(image)))
    if image.mode == "F":
        raise InputError("an image of floats has no known range; save it with 8 or 16 bits per channel")
    if "transparency" in image.info:
        image = image.convert("RGBA")
    if image.mode != "RGB":
        image = image.convert("RGB")
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)  # (3, H, W), a view


def _to_eight_bits(pixels: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """Return the upper byte of 16-bit pixels; Pillow holds those in 32 bits in some versions, and would clip them."""
    return (pixels.clip(0, 65535) // 256).astype(np.uint8)


def _from_array(array: np.ndarray[Any, Any]) -> Tensor:
    if array.dtype != np.uint8:
        raise InputError(f"an image array must be uint8 with values 0 … 255, not {array.dtype}")
    if array.ndim == 2:
        array = np.repeat(array[:, :, None], 3, axis=2)
    if array.ndim != 3 or array.shape[2] != 3 or 0 in array.shape:
        raise InputError(f"an image array must be (H, W, 3) in RGB order or (H, W), not {array.shape}")
    if not array.flags.writeable or min(array.strides) < 0:  # torch takes neither
        array = array.copy()
    return torch.from_numpy(array).permute(2, 0, 1)  # (3, H, W), a view


def _from_tensor(tensor: Tensor) -> Tensor:
    if tensor.dtype != torch.uint8:
        raise InputError(f"an image tensor must be uint8 with values 0 … 255, not {tensor.dtype}")
    if tensor.ndim != 3 or tensor.shape[0] != 3 or 0 in tensor.shape:
        raise InputError(f"an image tensor must be (3, H, W) in RGB order, not {tuple(tensor.shape)}")
    return tensor


def _kind(value: object) -> str:
    return f"{type(value).__module__}.{type(value).__qualname__}".removeprefix("builtins.")
