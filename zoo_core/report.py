"""What became of each tensor when weights were loaded: nothing is left untold."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

WIDTH = 80


@dataclass(frozen=True)
class LoadReport:
    """What became of each tensor of a file and of a model.

    Attributes:
        loaded: names of the tensors taken as they are.
        remapped: by name, those taken from one of another name, in part or in another order, and by what rule.
        reinitialised: by name, those that are in both but do not fit, and why; they are as the model was built.
        missing: names that only the model has; they are as the model was built.
        unexpected: names that only the file has; they are not used.
        classes: for each class of the model, that of the file whose rows it has; None for a new one, and for all where a
            tensor with their rows was reinitialised. Empty where no tensor depends on the classes, or none of these was in
            the file.
        alike: for a new class, one of the file whose name differs from it in case, spaces, "_" and "-" alone, and that no
            class goes on from.
        settings: by name, options that are others in the file than in the model, and how: weights may depend on them.
    """

    loaded: list[str] = field(default_factory=list)
    remapped: dict[str, str] = field(default_factory=dict)
    reinitialised: dict[str, str] = field(default_factory=dict)
    missing: list[str] = field(default_factory=list)
    unexpected: list[str] = field(default_factory=list)
    classes: dict[str, str | None] = field(default_factory=dict)
    alike: dict[str, str] = field(default_factory=dict)
    settings: dict[str, str] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """Return all of it, ready for ``json.dumps``."""
        return asdict(self)

    def under(self, prefix: str) -> LoadReport:
        """Return the same of a part that lies under `prefix` in a model: its names there."""
        return replace(
            self,
            loaded=[prefix + name for name in self.loaded],
            remapped={prefix + name: rule for name, rule in self.remapped.items()},
            reinitialised={prefix + name: why for name, why in self.reinitialised.items()},
            missing=[prefix + name for name in self.missing],
        )

    def __str__(self) -> str:
        """Return it as a table of at most 80 columns: how many tensors met each fate, and the first of them."""
        old = [name for name in self.classes.values() if name is not None]
        fates: list[tuple[str, int, list[str]]] = [
            ("loaded", len(self.loaded), ["as they are"]),
            ("remapped", len(self.remapped), self._rules()),
            ("reinitialised", len(self.reinitialised), _told(self.reinitialised)),
            ("missing", len(self.missing), self.missing),
            ("unexpected", len(self.unexpected), self.unexpected),
            ("classes", len(old), self._continued()),
            ("settings", len(self.settings), _told(self.settings)),
        ]
        digits = max(len(str(count)) for _, count, _ in fates)
        told = [(f"{fate:<13}  {n:>{digits}}  ", texts) for fate, n, texts in fates if texts and (n or fate == "classes")]
        lines = [start + _first(texts, WIDTH - len(start)) for start, texts in told]
        return "\n".join([*lines, *self._hint()]) or "nothing was loaded"

    def _hint(self) -> list[str]:
        """Return what to do for classes that are almost of the same name, in a line of the table's width."""
        start, end = "almost the same names: map ", " to go on from those classes"
        pairs = [f"{old}={new}" for new, old in self.alike.items()]
        whole = start + ",".join(pairs[:WIDTH]) + end
        if len(whole) > WIDTH:
            whole = start + _first(pairs, WIDTH - len(start), ",")
        return [whole] if pairs else []

    def _rules(self) -> list[str]:
        """Return how often each rule was followed, the rarest first; from which tensor one is leads too far for a table."""
        rules = Counter(re.sub(r"^from [^,]*(, )?", "", rule) or "another name" for rule in self.remapped.values())
        return [f"{count} × {rule}" for rule, count in reversed(rules.most_common())]

    def _continued(self) -> list[str]:
        new = [name for name, old in self.classes.items() if old is None]
        old = [name if name == old else f"{name} from {old}" for name, old in self.classes.items() if old is not None]
        return ([f"new: {', '.join(new)}"] if new else []) + old


def _told(reasons: Mapping[str, str]) -> list[str]:
    return [f"{name}: {why}" for name, why in reasons.items()]


def _first(texts: Sequence[str], width: int, between: str = "; ") -> str:
    """Return the first texts, as many as fit a width, and how many more there are."""
    found, line = "", ""
    for shown, text in enumerate(texts, 1):
        line += between + text if line else text
        if len(line) > width:
            break
        rest = f" … and {len(texts) - shown} more" if shown < len(texts) else ""
        found = line + rest if len(line + rest) <= width else found
    if found:
        return found
    more = f" … and {len(texts) - 1} more" if len(texts) > 1 else ""
    return texts[0][: width - len(more) - 1] + "…" + more.removeprefix(" …")
