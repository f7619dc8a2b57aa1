"""Data sets: formats behind one interface, augmentation, loaders. This module imports nothing.

The way in is `zoo_core.data.open.open_data`; a format of one's own derives from `zoo_core.data.format.DataFormat`.
"""
