"""A pyramid whose maps are added with learned weights."""
