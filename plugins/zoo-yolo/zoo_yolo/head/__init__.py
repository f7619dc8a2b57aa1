"""The dense head of the YOLO family, and the rules by which its anchors answer for targets."""
