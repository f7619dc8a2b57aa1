"""The verbs on boxes, over torchvision's where torchvision has them."""
