"""An ensemble of the models of several runs: chosen out of fold, judged, registered."""
