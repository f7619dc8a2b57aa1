"""Networks that were trained with blue first, made to see red first, as ours do, and to find the same."""

from __future__ import annotations

from typing import Any

from zoo_rcnn.importers.state_dict import Renamed

FIRST = "backbone.body.conv1.weight"


def red_first(found: Renamed) -> Renamed:
    """Return the weights with the colours in the opposite order: the channels of what the first convolution takes."""
    return found.changed(FIRST, lambda w: w.flip(1) if w.ndim > 1 else w, "its channels from BGR to RGB")


def opposite(options: dict[str, Any]) -> dict[str, Any]:
    """Return options with the mean and the deviation of the colours in the opposite order."""
    pixels = options.get("preprocess", {})
    turned = {name: pixels[name][::-1] for name in ("mean", "std") if isinstance(pixels.get(name), tuple)}
    return options | {"preprocess": pixels | turned} if turned else options
