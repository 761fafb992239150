"""The losses of a generator's training: plain decoding, then v-prediction (section 3.4)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from diffinf_core.diffusion.architecture import Architecture
from diffinf_core.diffusion.autoencoder import DiffusionAutoencoder
from diffinf_core.diffusion.network import WarmupDecoder
from diffinf_core.diffusion.schedule import TIMES, abar
from diffinf_core.diffusion.settings import GeneratorTraining
from diffinf_core.diffusion.sources import SeededBatch
from diffinf_core.records import DiffInfError

#: noise on the coarse colour while training, so that its exact value says nothing about a picture
COLOUR_NOISE = 0.02
#: weight of the error where x_0 is known, which is easily copied
KNOWN_WEIGHT = 0.2
#: side of the noise whose level sets are the regions to inpaint
_BLOB = 5


class GeneratorLoss(nn.Module):
    """Both phases' losses as one forward pass, so that several processes can wrap it.

    ``paired``: whether the data has pairs, the same person with another label.
    """

    def __init__(self, architecture: Architecture, config: GeneratorTraining, paired: bool) -> None:
        super().__init__()
        self.model = DiffusionAutoencoder(architecture)
        a = architecture
        self.plain = WarmupDecoder(a.side, a.z_dim, a.encoder_width, a.patch, a.channels)
        self.model.unet.drop(config.dropout)
        self.config, self.paired = config, paired
        if config.pairs and a.latent is None:
            raise DiffInfError(
                "pairs is a setting of generators on latents; leave it out, or name a first stage."
            )
        if config.inpaint and not a.inpaints:
            raise DiffInfError(
                "inpaint is a setting of generators on latents; leave it out, or name a first stage."
            )

    def forward(
        self, seeded: SeededBatch, device: torch.device, warming: bool
    ) -> dict[str, Tensor]:
        """ "loss", and its unweighted terms, scalars: "plain" (L1) and "denoise" (squared error of v); with
        an adversary in the training also "z", the noisy codes (B, z_dim)."""
        c = self.config
        batch = seeded.batch
        noise = torch.Generator(device).manual_seed(seeded.seed)
        if c.dropout:  # it draws from the global generator, and has to resume bit for bit
            torch.manual_seed(seeded.seed ^ 2)

        def gauss(like: Tensor) -> Tensor:
            return torch.randn(like.shape, generator=noise, device=device)

        def uniform(*shape: int) -> Tensor:
            return torch.rand(*shape, generator=noise, device=device)

        x = self._x0(batch.target, device)
        label = torch.from_numpy(batch.label).to(device)
        weight = torch.ones((), device=device)
        if batch.weight is not None:
            weight = torch.from_numpy(batch.weight).to(device)[:, None]
        if warming:
            z = self.model.encoder(x)
            plain = self.plain(z + c.z_noise * gauss(z))
            loss = (weight * (plain.float() - x).abs()).mean()
            return {"loss": loss, "plain": loss.detach()}
        source = x if batch.source is batch.target else self._x0(batch.source, device)
        z = self.model.encoder(source)
        z = z + c.z_noise * gauss(z)
        code = z
        if not self.paired and c.z_dropout and label.shape[1]:
            dropped = uniform(len(z), 1) < c.z_dropout
            code = torch.where(dropped, torch.zeros_like(z), z)
        if batch.colour is not None:
            colour = torch.from_numpy(batch.colour).to(device)
            colour = colour + COLOUR_NOISE * gauss(colour)
            code = torch.cat([code, colour], 1)
        low, u = uniform(len(x)) < c.low_time_fraction, uniform(len(x))
        t = torch.where(low, u * c.low_time, c.low_time + u * (TIMES - c.low_time))
        t = t.long().clamp_(max=TIMES - 1)
        eps = gauss(x)
        a = abar(t, x)
        x_t = a.sqrt() * x + (1 - a).sqrt() * eps
        v = a.sqrt() * eps - (1 - a).sqrt() * x
        around, part = None, weight
        if c.inpaint:
            known = known_cells(x, c.inpaint, noise)
            around = torch.cat([known * x, known], 1)
            outside = 1 - (1 - KNOWN_WEIGHT) * known
            part = weight * outside / outside.mean((1, 2, 3), keepdim=True)
        error = (self.model.unet(x_t, t, code, label, around).float() - v) ** 2
        loss = (part * error).mean()
        out = {"denoise": loss.detach()}
        # The plain decoder reads the source's code, so it is scored where source = target.
        same = (label < 0).all(1) if self.paired else torch.ones(len(x), dtype=torch.bool)
        if c.warmup_weight and same.any():
            plain = self.plain(z[same])
            part = weight[same] if weight.dim() else weight
            plain_loss = (part * (plain.float() - x[same]).abs()).mean()
            loss = loss + c.warmup_weight * plain_loss
            out["plain"] = plain_loss.detach()
        if c.label_free:
            out["z"] = z
        return {"loss": loss, **out}

    def _x0(self, values: np.ndarray, device: torch.device) -> Tensor:
        """x_0 on the device, of pictures or of latents as a first stage gives them."""
        if values.dtype == np.uint8:
            return _pictures(values, device)
        x = torch.from_numpy(values).to(device, non_blocking=True).float()
        return self.model.normalise(x).contiguous(memory_format=torch.channels_last)


def known_cells(x: Tensor, fraction: float, noise: torch.Generator) -> Tensor:
    """Mask (B, 1, s, s) of what an inpainting network is shown of x: 1 around one or a few blobs that cover
    a tenth to nine tenths, in ``fraction`` of the pictures; 0 throughout in the others."""
    n = len(x)
    coarse = torch.randn(n, 1, _BLOB, _BLOB, generator=noise, device=x.device)
    fine = F.interpolate(coarse, x.shape[-2:], mode="bilinear", align_corners=False)
    order = fine.flatten(1).sort(1).values
    area = 0.1 + 0.8 * torch.rand(n, 1, generator=noise, device=x.device)
    edge = order.gather(1, (area * (order.shape[1] - 1)).long())[:, :, None, None]
    shown = torch.rand(n, 1, 1, 1, generator=noise, device=x.device) < fraction
    return ((fine > edge) & shown).to(x.dtype)


def _pictures(images: np.ndarray, device: torch.device) -> Tensor:
    """(B, S, S, 3) uint8 to (B, 3, S, S) in [-1, 1] on the device."""
    x = torch.from_numpy(np.ascontiguousarray(images))
    x = x.to(device, non_blocking=True).permute(0, 3, 1, 2).float() / 127.5 - 1
    return x.contiguous(memory_format=torch.channels_last)
