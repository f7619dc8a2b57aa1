"""The core of the detector zoo: interfaces, plugin discovery, the shapes of detectors, data and engine.

A map of the house; an arrow points from a module to the ones it may import::

    storey 0   errors <- contributions <- plugins <- registry           standard library, pluggy
    storey 1   specs <- recipes, detectors.specs                        + pydantic
    storey 2   types, report <- ops <- images, interfaces; provenance <- detectors <- build + torch
    leaves     origins, card, replace, tensor_file <- hub <- transfer <- importing <- create, testing
               hub, access <- remote, push; remote <- importing; data, hub, replace <- engine; pickles

Nothing above the leaves imports one of them.

The core knows no concrete backbone, neck, head, assigner or sampler: those live in plugins. This module imports nothing.
"""
