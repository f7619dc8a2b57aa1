"""The commands of zoo-cli, one module each with `arguments` and `run`."""
