"""Two hosts of their own on this machine, and Ray's cluster launcher at work on them."""
