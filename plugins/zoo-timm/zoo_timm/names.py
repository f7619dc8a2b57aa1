"""The names that timm knows. Importing timm takes seconds, so this is asked only for a name that is listed nowhere."""

from __future__ import annotations


def offers(name: str) -> bool:
    """Tell whether timm has a model of that name (a pretrained tag after a dot is allowed)."""
    import timm

    return bool(timm.is_model(name.partition(".")[0]))


def names() -> list[str]:
    """Return all names."""
    import timm

    return list(timm.list_models())
