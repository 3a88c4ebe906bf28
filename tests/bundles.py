"""Bundles for tests, of whatever weights."""

from folds.model.bundle import bundle_files


def write_bundle(folder, card, weights):
    """Write a bundle of one member into a folder."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in bundle_files(card, weights).items():
        (folder / name).write_bytes(content)
