"""MMDetection's names of the parameters of Faster R-CNN, in the words of this library."""

from __future__ import annotations

import re

RULES = (
    (r"backbone\.(.*)", r"backbone.body.\1"),
    (r"rpn_head\.rpn_conv\.(.*)", r"proposer.conv.\1"),
    (r"rpn_head\.rpn_cls\.(.*)", r"proposer.objectness.\1"),
    (r"rpn_head\.rpn_reg\.(.*)", r"proposer.deltas.\1"),
    (r"roi_head\.bbox_head\.shared_fcs\.(.*)", r"roi_head.shared.\1"),
    (r"roi_head\.bbox_head\.fc_cls\.(.*)", r"roi_head.classes.\1"),
    (r"roi_head\.bbox_head\.fc_reg\.(.*)", r"roi_head.deltas.\1"),
)


def ours(name: str) -> str:
    """Return our name of a parameter or buffer of MMDetection's Faster R-CNN."""
    if pyramid := re.fullmatch(r"neck\.(lateral|fpn)_convs\.(\d)\.conv\.(.*)", name):
        part, level, leaf = pyramid.groups()
        return f"neck.{'lateral' if part == 'lateral' else 'output'}.{4 * 2 ** int(level)}.{leaf}"
    for pattern, words in RULES:
        if re.fullmatch(pattern, name):
            return re.sub(pattern, words, name)
    raise KeyError(name)
