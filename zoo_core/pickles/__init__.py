"""Reading the pickles of other projects, checkpoints of PyTorch above all, without running anything that is in them."""
