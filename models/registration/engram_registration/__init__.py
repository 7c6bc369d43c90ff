"""Multi-atlas registration: the classical baseline that Engram is compared with."""

__version__ = "0.1.0"
