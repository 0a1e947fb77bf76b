"""Measurements of the label store, one command each; README.md lists them."""
