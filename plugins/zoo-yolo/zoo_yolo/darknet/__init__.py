"""Darknet: networks from ``.cfg`` files, weights from ``.weights`` files."""
