"""How far the spectra of two sets of series are apart."""

import numpy as np


def spectral_distance(outputs, full):
    """Return the root mean square distance in dB of the mean log spectra, over channels and frequencies."""
    spectra = [20 * np.log10(np.abs(np.fft.rfft(x, axis=-1)) + 1e-3).mean(0) for x in (outputs, full)]
    return np.sqrt(np.square(spectra[0] - spectra[1]).mean())


spectral_distance.better = "lower"
spectral_distance.title = "Spectral distance"
spectral_distance.unit = "dB"
spectral_distance.modalities = ("series",)
