"""What can honestly be said of predictions: intervals, calibration, comparisons, a gate."""
