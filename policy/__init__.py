"""Rules that every stack is checked against, in previews and before updates. `rules/` is pure; `__main__.py` tells Pulumi of it."""
