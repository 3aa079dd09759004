"""edgegan compresses trained GANs for edge devices, proves what it cost, and deploys them."""

__version__ = "0.1.0"
