"""From candidate to champion: the gate, the common images, the aliases and their lock."""
