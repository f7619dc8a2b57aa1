"""Detections drawn into their image."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import TypeAlias

import torch
from PIL import Image, ImageColor, ImageDraw, ImageFont
from torch import Tensor

from zoo_core.errors import InputError
from zoo_core.types import Detections, Targets

Rectangle: TypeAlias = tuple[int, int, int, int]
"""Left, top, right, bottom in pixels; the right and the bottom one are included."""

PALETTE = (
    *("#E69F00", "#56B4E9", "#009E73", "#F0E442", "#0072B2", "#D55E00", "#CC79A7"),
    *("#AA4499", "#44AA99", "#DDCC77", "#882255", "#BBBBBB"),
)
"""Colours by label, then from the start again. The first seven are those of Okabe and Ito, "Color Universal Design", 2008, the
others of Paul Tol, "Colour Schemes", 2021: chosen so that readers who do not see all colours can tell most of them apart."""

_DARK, _LIGHT = "#000000", "#FFFFFF"


def draw(
    image: Tensor,
    detections: Detections,
    class_names: Sequence[str],
    score: float = 0.3,
    *,
    targets: Targets | None = None,
) -> Image.Image:
    """Return the image with a box, a name and a score for each detection.

    Lines and letters grow with the image. A box is drawn around its object, which so stays visible when it is small. A label
    stands where it covers no label of a better detection and stays in the image; where there is no such place it is left out,
    as are all labels of an image that is too small for letters.

    Args:
        image: (3, H, W) uint8 RGB.
        detections: what was found, in the image's pixels.
        class_names: the name of each label.
        score: only detections above it are drawn.
        targets: what is there; drawn as thin dashes in white and black, and ignored regions as dots.

    Raises:
        InputError: not such an image, or a label without a name.
    """
    if image.ndim != 3 or image.shape[0] != 3 or image.dtype != torch.uint8 or 0 in image.shape:
        raise InputError(f"an image to draw on must be uint8 RGB (3, H, W), not {image.dtype} of {tuple(image.shape)}")
    found = detections.to("cpu").above(score)
    if len(found) and not 0 <= int(found.labels.min()) <= int(found.labels.max()) < len(class_names):
        labels = f"{int(found.labels.min())} … {int(found.labels.max())}"
        raise InputError(f"detections with labels {labels} cannot be named: there are {len(class_names)} class names")

    picture = Image.fromarray(image.permute(1, 2, 0).contiguous().cpu().numpy())
    sheet = _Sheet(picture)
    found = found[found.scores.argsort(descending=True, stable=True)]
    colours = [PALETTE[label % len(PALETTE)] for label in found.labels.tolist()]
    frames = [sheet.frame(box) for box in found.boxes.tolist()]
    for frame, colour in zip(reversed(frames), reversed(colours), strict=True):  # the best lie on top
        sheet.box(frame, colour)
    if targets is not None:
        for box in targets.boxes.tolist():
            sheet.dashes(sheet.frame(box), length=4)
        for box in targets.ignored.tolist():
            sheet.dashes(sheet.frame(box), length=1)
    for frame, colour, label, value in zip(frames, colours, found.labels.tolist(), found.scores.tolist(), strict=True):
        name = _printable(class_names[label])
        sheet.label(frame, (f"{name} {value:.2f}", name), colour)
    return picture


class _Sheet:
    """A picture that is drawn on; line width and letters follow from its size."""

    def __init__(self, picture: Image.Image) -> None:
        self._draw = ImageDraw.Draw(picture)
        self._width, self._height = picture.size
        size = math.sqrt(self._width * self._height)
        self._line = max(1, round(size / 300))
        font_size = max(11, round(size / 45))
        self._font = ImageFont.load_default(font_size)
        _, self._top, _, self._bottom = (round(edge) for edge in self._font.getbbox("Ag"))
        self._pad = max(1, font_size // 6)
        self._taken: list[Rectangle] = []

    def frame(self, box: Sequence[float]) -> Rectangle | None:
        """Return the pixels just around a box, kept in the image; None for a box that is not in it."""
        x1, y1, x2, y2 = box
        if not (x1 < self._width and y1 < self._height and x2 > 0 and y2 > 0 and x1 <= x2 and y1 <= y2):
            return None
        line = self._line
        left, top = max(math.floor(max(x1, 0)) - line, 0), max(math.floor(max(y1, 0)) - line, 0)
        right = min(math.ceil(min(x2, self._width)) - 1 + line, self._width - 1)
        bottom = min(math.ceil(min(y2, self._height)) - 1 + line, self._height - 1)
        return left, top, right, bottom

    def box(self, frame: Rectangle | None, colour: str) -> None:
        """Draw a frame, with a dark edge where lines are broad enough for one."""
        if frame is None:
            return
        left, top, right, bottom = frame
        if self._line > 1:
            self._draw.rectangle((left - 1, top - 1, right + 1, bottom + 1), outline=_DARK, width=self._line + 1)
        self._draw.rectangle(frame, outline=colour, width=self._line)

    def dashes(self, frame: Rectangle | None, length: int) -> None:
        """Draw a frame in dashes that are `length` line widths long, and as far apart."""
        if frame is None:
            return
        left, top, right, bottom = frame
        step, line = max(2, length * self._line), max(1, self._line // 2)
        self._draw.rectangle(frame, outline=_DARK, width=line)  # between the dashes, to be seen on a white ground
        for x in range(left, right + 1, 2 * step):
            for y in (top, bottom - line + 1):
                self._draw.rectangle((x, y, min(x + step - 1, right), y + line - 1), fill=_LIGHT)
        for y in range(top, bottom + 1, 2 * step):
            for x in (left, right - line + 1):
                self._draw.rectangle((x, y, x + line - 1, min(y + step - 1, bottom)), fill=_LIGHT)

    def label(self, frame: Rectangle | None, texts: Sequence[str], colour: str) -> None:
        """Write the first of `texts` that fits the image at a frame, in the first place there that is free."""
        if frame is None:
            return
        for text in texts:
            width = math.ceil(self._font.getlength(text)) + 2 * self._pad
            height = self._bottom - self._top + 2 * self._pad
            if width > self._width or 3 * height > self._height:
                continue
            for x, y in self._places(frame, width, height):
                place = (x, y, x + width - 1, y + height - 1)
                if not any(_overlap(place, other) for other in self._taken):
                    self._taken.append(place)
                    self._draw.rectangle(place, fill=colour)
                    ink = _DARK if _luminance(colour) > 0.179 else _LIGHT  # the better contrast of the two
                    self._draw.text((x + self._pad, y + self._pad - self._top), text, fill=ink, font=self._font)
                    return

    def _places(self, frame: Rectangle, width: int, height: int) -> Iterator[tuple[int, int]]:
        """Yield corners for a label: above the frame, below it, within it if it is roomy; at its left end, then its right."""
        left, top, right, bottom = frame
        last = self._height - height
        above, below = top - height, bottom + 1
        roomy = right - left > 1.5 * width and bottom - top > 4 * height
        rows = [y for y in ((above, top, below) if roomy else (above, below)) if 0 <= y <= last] or [min(top, last)]
        for x in (left, right - width + 1):
            for y in rows:
                yield min(max(x, 0), self._width - width), y


def _overlap(a: Rectangle, b: Rectangle) -> bool:
    return a[0] <= b[2] and b[0] <= a[2] and a[1] <= b[3] and b[1] <= a[3]


def _luminance(colour: str) -> float:
    """Return the relative luminance of sRGB, 0 … 1 (IEC 61966-2-1)."""
    parts = (value / 255 for value in ImageColor.getrgb(colour)[:3])
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def _printable(name: str) -> str:
    line = " ".join(name.split())  # letters of several lines cannot be measured
    return line if len(line) <= 30 else line[:29] + "…"
