"""What follows the last fold: predictions pooled and judged, a model chosen, all of it told."""
