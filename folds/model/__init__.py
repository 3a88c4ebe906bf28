"""The network: a timm backbone and a head, its first weights, and a trained one as files."""
