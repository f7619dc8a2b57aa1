"""Faster R-CNN of other projects to ours: their names to our names, and all else by the shapes of the tensors."""
