"""Region-based detectors: Faster R-CNN, its parts and its recipes."""
