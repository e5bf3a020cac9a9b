"""The tree of concepts that labels are taken from."""
