"""What can honestly be said of predictions: scores, intervals, calibration, comparisons, a gate."""
