"""The two shapes of detectors, and the preprocessing that belongs to a model."""
