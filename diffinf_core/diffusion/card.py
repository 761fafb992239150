"""The model card of a generator as Markdown."""

from __future__ import annotations

from typing import Any

from diffinf_core.diffusion.first_stage import BESIDE


def card_text(card: dict[str, Any]) -> str:
    """The model card as Markdown, every line from the card of the weights."""
    attributes = card["architecture"]["attributes"]
    conditions = "; ".join(f"{a['name']}: {', '.join(a['classes'])}" for a in attributes)
    lines = [
        "# Generator",
        "",
        "A small diffusion autoencoder, trained by DiffInf to repair training pictures.",
        "",
        f"* Pictures: {card['architecture']['image_size']} pixels; parameters: "
        f"{card['parameters']:,}; SHA-256 {card['sha256']}.",
        f"* Conditioned on: {conditions or 'no labels'}.",
        *_latent_lines(card["architecture"]),
        *(f"* Data, {key}: {value}." for key, value in card["data"].items()),
        f"* Trained on {card['device']}, {card['steps_made']:,} steps in {card['seconds']:,} s, by "
        f"`{card['command']}`.",
        *(f"* {key.replace('_', ' ')}: {_short(value)}." for key, value in card["figures"].items()),
        "",
        "Meant for repairing pictures like those it was trained on, under human review. What it generates "
        "is synthetic and must be marked as such; it inherits the bias of its data and the licence and "
        "the consent under which that data may be used.",
        "",
    ]
    return "\n".join(lines)


def _latent_lines(architecture: dict[str, Any]) -> list[str]:
    space = architecture.get("latent")
    if not space:
        return []
    kept = [a["name"] for a in architecture["attributes"] if a["covariate"]]
    kept += ["coarse colour"] if architecture["colour"] else []
    return [
        f"* Works on latents of {space['name']} ({len(space['mean'])} channels, sides "
        f"{space['factor']} times smaller; {BESIDE}, SHA-256 {space['first_stage']}).",
        f"* Kept fixed in an edit: {', '.join(kept) or 'nothing'}.",
    ]


def _short(value: float) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
