"""Series, music, text and tables."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from zoo_models.ports import Architecture, between, contract, image, latent, values


class Timegan(nn.Module):
    """A GRU turns noise into latent steps, another recovers the series from them."""

    def __init__(self, inputs: int = 8, hidden: int = 24, features: int = 5) -> None:
        super().__init__()
        self.generator = nn.GRU(inputs, hidden, num_layers=2, batch_first=True)
        self.recovery = nn.GRU(hidden, hidden, batch_first=True)
        self.latent, self.out = nn.Linear(hidden, hidden), nn.Linear(hidden, features)

    def forward(self, noise: Tensor) -> Tensor:
        hidden, _ = self.generator(noise)
        recovered, _ = self.recovery(torch.sigmoid(self.latent(hidden)))
        return torch.sigmoid(self.out(recovered))


class RecurrentGan(nn.Module):
    """C-RNN-GAN: an LSTM of both directions."""

    def __init__(self, inputs: int = 8, hidden: int = 24, features: int = 4) -> None:
        super().__init__()
        self.lstm = nn.LSTM(inputs, hidden, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(2 * hidden, features)

    def forward(self, noise: Tensor) -> Tensor:
        return torch.tanh(self.fc(self.lstm(noise)[0]))


class Musegan(nn.Module):
    """One latent for all tracks and one for each; bars of piano rolls from 3-d transposed convolutions."""

    def __init__(self, tracks: int = 3, z: int = 16, width: int = 16) -> None:
        super().__init__()
        self.tracks = tracks
        self.shared = nn.Sequential(
            nn.ConvTranspose3d(2 * z, 2 * width, (2, 1, 1), (2, 1, 1)),
            nn.BatchNorm3d(2 * width),
            nn.ReLU(),
            nn.ConvTranspose3d(2 * width, width, (1, 4, 1), (1, 4, 1)),
            nn.BatchNorm3d(width),
            nn.ReLU(),
        )
        self.private = nn.ModuleList(
            nn.Sequential(
                nn.ConvTranspose3d(width, width, (1, 1, 4), (1, 1, 4)),
                nn.BatchNorm3d(width),
                nn.ReLU(),
                nn.ConvTranspose3d(width, 1, (1, 1, 3), (1, 1, 3)),
            )
            for _ in range(tracks)
        )

    def forward(self, shared: Tensor, private: Tensor) -> Tensor:
        rolls = []
        for index in range(self.tracks):
            z = torch.cat([shared, private[:, index]], 1).view(shared.size(0), -1, 1, 1, 1)
            rolls.append(self.private[index](self.shared(z)))
        return torch.sigmoid(torch.cat(rolls, 1))


class GumbelText(nn.Module):
    """An LSTM cell writes tokens as a softmax sharpened by a temperature, and reads what it wrote."""

    def __init__(self, tokens: int = 24, width: int = 24, length: int = 6, z: int = 32) -> None:
        super().__init__()
        self.length, self.tokens = length, tokens
        self.start, self.embed = nn.Linear(z, width), nn.Linear(tokens, width, bias=False)
        self.cell, self.logits = nn.LSTMCell(width, width), nn.Linear(width, tokens)

    def forward(self, z: Tensor, gumbel: Tensor) -> Tensor:
        hidden = torch.tanh(self.start(z))
        state, token, written = torch.zeros_like(hidden), gumbel.new_zeros(z.size(0), self.tokens), []
        for index in range(self.length):
            hidden, state = self.cell(self.embed(token), (hidden, state))
            token = torch.softmax((self.logits(hidden) + gumbel[:, index]) / 0.5, -1)
            written.append(token)
        return torch.stack(written, 1)


class TextCnn(nn.Module):
    """WGAN-GP's text generator: residual 1-d convolutions, a softmax over tokens."""

    def __init__(self, tokens: int = 24, width: int = 32, length: int = 16, z: int = 32) -> None:
        super().__init__()
        self.seed, self.width, self.length = nn.Linear(z, width * length), width, length
        self.blocks = nn.ModuleList(
            nn.Sequential(
                nn.ReLU(),
                nn.Conv1d(width, width, 5, padding=2),
                nn.ReLU(),
                nn.Conv1d(width, width, 5, padding=2),
            )
            for _ in range(2)
        )
        self.out = nn.Conv1d(width, tokens, 1)

    def forward(self, z: Tensor) -> Tensor:
        x = self.seed(z).view(-1, self.width, self.length)
        for block in self.blocks:
            x = x + 0.3 * block(x)
        return torch.softmax(self.out(x).transpose(1, 2), 2)


class CtganResidual(nn.Module):
    def __init__(self, inputs: int, outputs: int) -> None:
        super().__init__()
        self.fc, self.norm, self.relu = nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()

    def forward(self, x: Tensor) -> Tensor:
        return torch.cat([self.relu(self.norm(self.fc(x))), x], 1)


class Ctgan(nn.Module):
    """Residuals by concatenation; a tanh for each number, a softmax for each choice."""

    def __init__(self, z: int = 32, condition: int = 8, columns: tuple[int, ...] = (1, 4, 1, 5)) -> None:
        super().__init__()
        inputs, width = z + condition, 64
        self.net = nn.Sequential(
            CtganResidual(inputs, width),
            CtganResidual(inputs + width, width),
            nn.Linear(inputs + 2 * width, sum(columns)),
        )
        self.columns = columns

    def forward(self, z: Tensor, condition: Tensor) -> Tensor:
        parts = torch.split(self.net(torch.cat([z, condition], 1)), self.columns, 1)
        return torch.cat([torch.tanh(p) if p.shape[1] == 1 else F.softmax(p / 0.2, -1) for p in parts], 1)


class Medgan(nn.Module):
    """Shortcuts around Linears with norms, then the decoder of an autoencoder."""

    def __init__(self, width: int = 64, codes: int = 96) -> None:
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(width, width, bias=False) for _ in range(2))
        self.norms = nn.ModuleList(nn.BatchNorm1d(width) for _ in range(2))
        self.decoder = nn.Linear(width, codes)

    def forward(self, z: Tensor) -> Tensor:
        x = F.relu(self.norms[0](self.layers[0](z))) + z
        x = torch.tanh(self.norms[1](self.layers[1](x))) + x
        return torch.sigmoid(self.decoder(x))


class Mlp(nn.Sequential):
    """The first GAN: Linears to a picture."""

    def __init__(self, z: int = 32, width: int = 64) -> None:
        super().__init__(
            nn.Linear(z, width),
            nn.LeakyReLU(0.2),
            nn.Linear(width, 2 * width),
            nn.BatchNorm1d(2 * width, 0.8),
            nn.LeakyReLU(0.2),
            nn.Linear(2 * width, 256),
            nn.Tanh(),
            nn.Unflatten(1, (1, 16, 16)),
        )


ARCHITECTURES = (
    Architecture("GAN", "Goodfellow 2014", Mlp, contract(latent(32), image(16, 1))),
    Architecture(
        "TimeGAN",
        "Yoon 2019",
        Timegan,
        contract(latent(12, 8, name="noise"), values(12, 5, name="series", low=0)),
    ),
    Architecture(
        "C-RNN-GAN",
        "Mogren 2016",
        RecurrentGan,
        contract(latent(12, 8, name="noise"), values(12, 4, name="series")),
    ),
    Architecture(
        "MuseGAN",
        "Dong 2018",
        Musegan,
        contract(
            latent(16, name="shared"), latent(3, 16, name="private"), values(3, 2, 4, 12, name="bars", low=0)
        ),
    ),
    Architecture(
        "Gumbel text GAN",
        "Kusner 2016",
        GumbelText,
        contract(latent(32), between(-1.0, 3.0, 6, 24, name="gumbel"), values(6, 24, name="tokens", low=0)),
    ),
    Architecture(
        "WGAN-GP text", "Gulrajani 2017", TextCnn, contract(latent(32), values(16, 24, name="tokens", low=0))
    ),
    Architecture(
        "CTGAN",
        "Xu 2019",
        Ctgan,
        contract(latent(32), between(0.0, 1.0, 8, name="condition"), values(11, name="row")),
    ),
    Architecture("MedGAN", "Choi 2017", Medgan, contract(latent(64), values(96, name="codes", low=0))),
)
