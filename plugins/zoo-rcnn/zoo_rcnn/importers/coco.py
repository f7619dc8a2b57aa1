"""The names of COCO's classes, for files that have weights for these and no names."""

from __future__ import annotations

NONE = "N/A"


def categories() -> tuple[str, ...]:
    """Return the names of COCO's categories 1 … 90; what has no name there has its number."""
    return tuple(f"{NONE} {number}" if name == NONE else name for number, name in enumerate(_listed()) if number)


def classes() -> tuple[str, ...]:
    """Return the 80 names that are in use, in the order of their categories."""
    return tuple(name for name in _listed()[1:] if name != NONE)


def _listed() -> list[str]:
    """Return torchvision's list, which begins with the background."""
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights

    return list(FasterRCNN_ResNet50_FPN_Weights.COCO_V1.meta["categories"])
