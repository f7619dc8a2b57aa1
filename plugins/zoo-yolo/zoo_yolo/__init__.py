"""One-stage detectors with anchors: YOLOv4, YOLOv5, and any network of a Darknet ``.cfg``."""
