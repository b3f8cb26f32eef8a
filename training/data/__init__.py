"""Folders of images -> what trains: records, groups, splits, frames; slices of volumes; drawn heads."""
