"""The command line, zoo-cli."""
