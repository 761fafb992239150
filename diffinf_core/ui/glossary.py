"""The notation on the pages, explained where it is met; docs/glossary.md has all terms."""

from __future__ import annotations

from html import escape

TERMS = {
    "h": "influence predictor: probability that a picture is high-influence under its label; a repair lowers "
    "it on purpose",
    "self-influence": "how much a training picture affects its own loss, summed over checkpoints; high is "
    "suspicious",
    "tau": "per cent of the training pictures called high-influence; they are repaired and reviewed",
    "judge": "network that gives the probability of each class and takes no part in a repair",
    "w_id": "weight of the identity term: higher keeps more of the same person",
    "lambda_struct": "weight of the distance between face parsings: higher keeps the layout",
    "lambda_perc": "weight of the perceptual and pixel distance: higher keeps the look",
    "w_si": "weight of the influence term: higher makes the edit less influential",
    "guidance": "strength of classifier-free guidance towards the label; 0 asks for no label",
    "covariate_guidance": "strength of guidance towards the picture's own covariates, such as sex, which an "
    "edit keeps: higher changes fewer of them, and turns fewer labels",
    "decode_from": "what the region is decoded from: mean draws the typical one, cleaner; inversion, the "
    "picture's own noise, keeps more of the person",
    "refine_t0": "with decode_from mean: noise level at which what was drawn gets its detail; 0 leaves it "
    "soft",
    "mask_quantile": "fraction of the picture outside of the region that an edit changes, before that is "
    "widened a little: higher changes less",
    "t0": "noise level, of 0 to 999, that the original is inverted to: higher allows larger changes",
    "steps": "steps of the sampler: more are finer and slower",
    "identity cosine": "likeness to the original's face by a face-recognition network: 1 is the same, "
    "strangers are near 0",
    "SSIM": "structural similarity to the original: 1 is the same picture",
    "kappa": "Cohen's kappa: agreement of two reviewers beyond chance; 1 is perfect, 0 is chance",
}


def template() -> str:
    """The terms as a list, in a template that assets/ui/glossary.js shows."""
    rows = "".join(f"<dt>{escape(k)}</dt><dd>{escape(v)}</dd>" for k, v in TERMS.items())
    return f'<template id="di-glossary"><dl>{rows}</dl></template>'
