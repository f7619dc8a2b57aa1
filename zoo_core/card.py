"""The model card: ``README.md`` of a saved detector, with the metadata that the Hub reads at its top.

What a user has written stays: of the metadata only the keys that are ours are changed, and a text that is not word for word
the zoo's own is left alone.
"""

from __future__ import annotations

import hashlib
import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from zoo_core.detectors.detector import Detector
from zoo_core.errors import CheckpointError, InputError, nearest
from zoo_core.provenance import Origin, Provenance, without_path

CARD = "README.md"
LIBRARY = "zoo"
TASK = "object-detection"
LONGEST = 2**20
LONGEST_HEAD = 2**16
DEEPEST = 50
FACTS = ("license", "license_name", "license_link", "base_model", "datasets", "language", "tags", "evaluation")
"""What a user may say of a model; all but the last are keys of the Hub's metadata."""
TYPES = {"AP": "mAP", "AP50": "mAP@0.5", "AP75": "mAP@0.75"}
"""What the Hub calls figures of ours."""
HEAD = re.compile(r"\A\ufeff?---[ \t]*\r?\n(.*?)^---[ \t]*(?:\r?\n|\Z)", re.DOTALL | re.MULTILINE)
NOTE = re.compile(r"<!-- Written by the zoo \(([0-9a-f]{12})\)[^\n]*-->\s*\Z")


def written(
    model: Detector,
    plugins: Mapping[str, str],
    source: str,
    old: str = "",
    facts: Mapping[str, Any] | None = None,
) -> str:
    """Return the text of the card.

    Args:
        model: what it is about.
        plugins: the distributions that the model needs, and their versions.
        source: what `zoo.load` takes to load it.
        old: the card that there was; what a user wrote there is kept.
        facts: what is known beside (`FACTS`): ``{"license": "apache-2.0"}``.

    Raises:
        InputError: facts that are none.
        CheckpointError: an old card whose metadata cannot be read.
    """
    head, body = split(old)
    known = parsed(head)
    ours = metadata(model, source, facts or {}, known)
    if not handwritten(old):
        body = _signed(_body(model, plugins, source, known | ours))
    return f"---\n{updated(head, ours)}---\n{body}"


def of(folder: Path) -> str:
    """Return the card in a folder, line ends as they are; nothing if there is none."""
    path = folder / CARD
    if not path.is_file():
        return ""
    try:
        with path.open("rb") as file:
            data = file.read(LONGEST + 1)
        if len(data) > LONGEST:
            raise ValueError("it is too long")
        return data.decode("utf-8")
    except (OSError, ValueError) as error:
        raise CheckpointError(f"{path} is not a text in UTF-8, and would be lost; move it away ({error})") from error


def split(text: str) -> tuple[str, str]:
    """Return the metadata of a card and what comes after them."""
    found = HEAD.match(text)
    return (found[1], text[found.end() :]) if found else ("", text)


def handwritten(text: str) -> bool:
    """Say whether the text of a card (not its metadata) is a user's: it is not what the zoo wrote."""
    body = split(text)[1]
    found = NOTE.search(body)
    return bool(body.strip()) and not (found and found[1] == _digest(body[: found.start()]))


def _signed(body: str) -> str:
    return f"{body}<!-- Written by the zoo ({_digest(body)}). Edit the text as you like: it is then left alone. -->\n"


def _digest(body: str) -> str:
    return hashlib.sha256(body.replace("\r\n", "\n").encode()).hexdigest()[:12]


def parsed(head: str) -> dict[str, Any]:
    """Return metadata as a dict; raise `CheckpointError` if they are none."""
    try:
        _check_harmless(head)
        found = yaml.safe_load(head)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise CheckpointError(f"the YAML at the top of {CARD} cannot be read; mend it: {error}") from error
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise CheckpointError(f"the YAML at the top of {CARD} must be lines of the form 'key: value'")
    return found


def _check_harmless(head: str) -> None:
    """Raise `ValueError` if it would take much time or memory to read metadata: they may be a stranger's."""
    if len(head) > LONGEST_HEAD:
        raise ValueError("it is too long")
    depth = 0
    for event in yaml.parse(head):
        depth += isinstance(event, yaml.CollectionStartEvent) - isinstance(event, yaml.CollectionEndEvent)
        if depth > DEEPEST:
            raise ValueError("it is nested too deeply")
        if isinstance(event, yaml.AliasEvent):  # a few lines of them fill any memory
            raise ValueError("it refers to itself (*)")


def updated(head: str, ours: Mapping[str, Any]) -> str:
    """Return metadata in which the keys of `ours` have these values, and every other line is as it was."""
    old = parsed(head)
    text = head if not head or head.endswith("\n") else head + "\n"
    for key, value in ours.items():
        if key not in old or old[key] != value:
            block = _dumped({key: value}).replace("\n", "\r\n" if "\r\n" in head else "\n")
            own = re.compile(rf"^(['\"]?){re.escape(key)}\1[ \t]*:.*\n(?:(?:[ \t]*\n)*(?:[ \t]+\S|-).*\n)*", re.MULTILINE)
            found = own.search(text)
            text = text[: found.start()] + block + text[found.end() :] if found else text + block
    try:
        if parsed(text) == {**old, **ours}:
            return text
    except CheckpointError:
        pass
    return _dumped({**old, **ours})  # written in a way that lines do not follow


def _dumped(data: Mapping[str, Any]) -> str:
    text: str = yaml.safe_dump(dict(data), sort_keys=False, allow_unicode=True, width=1000)
    return text


def metadata(model: Detector, source: str, facts: Mapping[str, Any], known: Mapping[str, Any]) -> dict[str, Any]:
    """Return the metadata that are ours, given those that are there."""
    checked(facts)
    there = known.get("tags") or []
    tags = [*(there if isinstance(there, list) else [there]), LIBRARY, model.recipe, *_listed(facts.get("tags", ()))]
    ours: dict[str, Any] = {"library_name": LIBRARY, "pipeline_tag": TASK}
    ours |= {"tags": [tag for k, tag in enumerate(tags) if tag and tag not in tags[:k]]}
    ours |= {key: facts[key] for key in FACTS if key in facts and key not in ("tags", "evaluation")}
    began = model.provenance and model.provenance.began
    if began and began.kind == "hub" and "base_model" not in {*facts, *known}:
        ours["base_model"] = began.name
    if "evaluation" in facts:
        ours["model-index"] = _index(source.rstrip("/").rpartition("/")[2] or LIBRARY, facts["evaluation"])
    return ours


def checked(facts: Mapping[str, Any]) -> None:
    """Raise `InputError` if `facts` are not what a card may say."""
    if not isinstance(facts, Mapping):
        raise InputError(f"card: what is known is a dict such as {{'license': 'apache-2.0'}}, not a {type(facts).__name__}")
    for key, value in facts.items():
        if key not in FACTS:
            raise InputError(f"card: no entry '{key}'{nearest(str(key), FACTS) or ' (' + ', '.join(FACTS) + ')'}")
        if key == "evaluation":
            if not isinstance(value, Mapping) or not _figures(value):
                raise InputError("card: evaluation must hold figures, as 'zoo-cli eval --json' prints them: {\"AP\": 0.41}")
        elif not (value and all(isinstance(text, str) for text in _listed(value))):
            raise InputError(f"card: {key} must be a text or a list of texts, not {value!r}")


def _listed(value: Any) -> Sequence[Any]:
    return value if isinstance(value, list | tuple) else [value]


def _figures(found: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of an evaluation."""
    return {
        key: value
        for key, value in found.items()
        if re.fullmatch(r"(AP|AR|voc_mAP)\w*", str(key))
        and isinstance(value, int | float)
        and not isinstance(value, bool)
        and math.isfinite(value)
    }


def _index(name: str, found: Mapping[str, Any]) -> list[dict[str, Any]]:
    data, split = (without_path(found[key]) if isinstance(found.get(key), str) else "" for key in ("data", "split"))
    dataset = {"name": data or "unknown", "type": data or "unknown"} | ({"split": split} if split else {})
    metrics = [{"type": TYPES.get(key, key), "name": key, "value": value} for key, value in _figures(found).items()]
    return [{"name": name, "results": [{"task": {"type": TASK}, "dataset": dataset, "metrics": metrics}]}]


USE = """\
## Use

```
pip install {distributions}
```

```python
import zoo

model = zoo.load({source})
(found,) = model.predict("photo.jpg", score=0.3)
for box, score, label in zip(found.boxes.tolist(), found.scores.tolist(), found.labels.tolist()):
    print(model.class_names[label], round(score, 2), [round(side) for side in box])
```
"""


def _body(model: Detector, plugins: Mapping[str, str], source: str, data: Mapping[str, Any]) -> str:
    """Return the text that the zoo writes."""
    count = sum(parameter.numel() for parameter in model.parameters())
    title = source.rstrip("/").rpartition("/")[2] or LIBRARY
    recipe = f"`{model.recipe}`" if model.recipe else f"`{model.spec.type}`, of no recipe"
    facts = f"An object detector: {recipe}, {count:,} parameters, {len(model.class_names)} classes."
    wanted = " ".join(f"{name}=={version}" for name, version in plugins.items()) or "zoo-core"
    parts = [f"\n# {_quoted(title)}\n", facts + "\n", USE.format(distributions=wanted, source=json.dumps(source))]
    parts += ["## Classes\n", ", ".join(map(_quoted, model.class_names)) + "\n"]
    parts += [part for part in (_trained(model.provenance), _measured(data)) if part]
    return "\n".join(parts)


def _quoted(text: str) -> str:
    """Return a name of anyone's as plain text of Markdown."""
    return re.sub(r"([\\`*_\[\]|#])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def _trained(known: Provenance | None) -> str:
    """Return where the weights come from; nothing if there is nothing to tell."""
    if known is None:
        return ""
    lines = []
    if known.data is not None:
        lines.append(f"- data: {_quoted(f'{known.data.name}, {known.data.split}, {known.data.images} images')}")
    if known.step is not None:
        lines.append(f"- steps: {known.step}")
    numbers = {name: known.options.get(name) for name in ("batch_size", "seed")}
    lines += [f"- {name.replace('_', ' ')}: {number}" for name, number in numbers.items() if isinstance(number, int)]
    if known.versions:
        lines.append(f"- versions: {_quoted(', '.join(f'{k} {v}' for k, v in known.versions.items()))}")
    if known.began is not None and (lines or known.began.kind != "recipe"):
        lines.append(f"- began with: {_began(known.began)}")
    return "\n".join(["## Training\n", *lines, ""]) if lines else ""


def _began(origin: Origin) -> str:
    """Return what weights began with, in words."""
    name = _quoted(origin.name)
    if origin.kind == "hub":
        return f"{name} on the Hub" + (f", commit {origin.commit}" if origin.commit else "")
    if origin.kind == "file":
        return f"the file {name}" + (f", sha256 {origin.sha256}" if origin.sha256 else "")
    return f"a saved model, {name}" if origin.kind == "saved" else f"new weights of {name}"


def _measured(data: Mapping[str, Any]) -> str:
    """Return the figures in the metadata; nothing if there are none, or a user has put them in a way of their own."""
    try:
        (result,) = data["model-index"][0]["results"]
        dataset = result["dataset"]
        rows = [f"| {_quoted(str(m.get('name', m['type'])))} | {float(m['value']):.4f} |" for m in result["metrics"]]
        where = _quoted(", ".join(str(dataset[key]) for key in ("name", "split") if key in dataset))
    except (KeyError, IndexError, TypeError, ValueError, AttributeError):
        return ""
    return "\n".join(["## Evaluation\n", f"On {where}:\n", "| figure | value |", "|---|---|", *rows, ""])
