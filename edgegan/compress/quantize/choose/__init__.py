"""Which start, calibrator, improvements and layers a file gets, judged by its outputs."""
