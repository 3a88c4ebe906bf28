"""What can honestly be said of predictions: scores, intervals, calibration, comparisons, a gate.

Arrays in, figures out: nothing here knows a network, a file or a run.
"""
