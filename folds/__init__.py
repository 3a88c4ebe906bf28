"""What one fold is: images, splits, augmentation, backbone, training, evaluation.

This package needs torch, timm, kornia and scikit-learn, and neither Ray nor MLflow: a notebook
can use it alone. The way of the data through its folders:

``config`` -> ``images`` -> ``audit`` -> ``splits`` -> ``training`` (with ``augment``, ``model`` and
``runtime``) -> ``evaluation``
"""

__version__ = "0.1.0"
