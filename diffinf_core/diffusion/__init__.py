"""Diffusion autoencoders: networks, sampling, training, and loading of weights."""

from diffinf_core.diffusion.loading import load_autoencoder

__all__ = ["load_autoencoder"]
