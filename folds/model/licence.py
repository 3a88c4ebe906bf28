"""Under which licence the weights are that a run began with."""

import timm


def licence_of(backbone: str, source: str) -> str | None:
    """Licence that timm's configuration states for weights from the hub.

    Parameters
    ----------
    backbone : str
        A timm model.
    source : str
        As `folds.model.weights.Pretrained` has it.

    Returns
    -------
    str or None
        Such as ``apache-2.0``; None where nothing is stated, as for files and others' models, or
        where nothing was pretrained. The demo's weights are this project's own.
    """
    if source.startswith("demo:"):
        return "apache-2.0"
    if not source.startswith("hub:"):
        return None
    if source.removeprefix("hub:") != backbone:  # somebody else's weights of it
        return None
    settings = timm.get_pretrained_cfg(backbone)
    return None if settings is None else settings.license
