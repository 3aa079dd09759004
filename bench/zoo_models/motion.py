"""Video, and pictures that are animated."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from zoo_models.dcgan import Dcgan
from zoo_models.ports import Architecture, between, contract, image, label, latent, picture, values


class Mocogan(nn.Module):
    """One content for all frames; a GRU turns noise into the motion of each."""

    def __init__(self, frames: int = 4, content: int = 32, motion: int = 16) -> None:
        super().__init__()
        self.frames = frames
        self.motion = nn.GRUCell(motion, motion)
        self.image = Dcgan(16, content + motion)

    def forward(self, content: Tensor, noise: Tensor) -> Tensor:
        state = torch.zeros_like(noise[:, 0])
        states = []
        for index in range(self.frames):
            state = self.motion(noise[:, index], state)
            states.append(state)
        motion = torch.stack(states, 1).flatten(0, 1)
        z = torch.cat([content.repeat_interleave(self.frames, 0), motion], 1)
        return self.image(z).unflatten(0, (-1, self.frames))


class Tgan(nn.Module):
    """A 1-d generator gives a latent for each frame, a 2-d one the frame from it and the first latent."""

    def __init__(self, z: int = 32, width: int = 16) -> None:
        super().__init__()
        self.temporal = nn.Sequential(
            nn.ConvTranspose1d(z, 2 * width, 1),
            nn.BatchNorm1d(2 * width),
            nn.ReLU(),
            nn.ConvTranspose1d(2 * width, width, 4, 2, 1),
            nn.BatchNorm1d(width),
            nn.ReLU(),
            nn.ConvTranspose1d(width, z, 4, 2, 1),
            nn.Tanh(),
        )
        self.fast, self.slow = nn.Linear(z, width * 16), nn.Linear(z, width * 16)
        self.frame = nn.Sequential(
            nn.ConvTranspose2d(2 * width, width, 4, 2, 1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
            nn.ConvTranspose2d(width, 3, 4, 2, 1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor) -> Tensor:
        fast = self.temporal(z.unsqueeze(2)).permute(0, 2, 1)
        n, frames, size = fast.shape
        slow = self.slow(z).unsqueeze(1).repeat(1, frames, 1).view(n * frames, -1, 4, 4)
        fast = self.fast(fast.reshape(n * frames, size)).view(n * frames, -1, 4, 4)
        return self.frame(torch.cat([fast, slow], 1)).view(n, frames, 3, 16, 16)


class ConvGru(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.gates = nn.Conv2d(2 * width, 2 * width, 3, padding=1)
        self.new = nn.Conv2d(2 * width, width, 3, padding=1)

    def forward(self, x: Tensor, state: Tensor) -> Tensor:
        update, reset = torch.sigmoid(self.gates(torch.cat([x, state], 1))).chunk(2, 1)
        new = F.relu(self.new(torch.cat([x, state * reset], 1)))
        return state * (1 - update) + new * update


class Dvdgan(nn.Module):
    """A ConvGRU over frames, then residual blocks on all of them at once."""

    def __init__(self, frames: int = 3, width: int = 32, z: int = 32, classes: int = 5) -> None:
        super().__init__()
        self.frames = frames
        self.embed, self.seed = nn.Embedding(classes, z), nn.Linear(2 * z, width * 16)
        self.gru = ConvGru(width)
        self.gain, self.bias = nn.Linear(2 * z, width), nn.Linear(2 * z, width)
        self.norm = nn.BatchNorm2d(width, affine=False)
        self.conv1, self.conv2 = nn.Conv2d(width, width, 3, padding=1), nn.Conv2d(width, width, 3, padding=1)
        self.rgb = nn.Conv2d(width, 3, 3, padding=1)

    def forward(self, z: Tensor, label: Tensor) -> Tensor:
        y = torch.cat([z, self.embed(label)], 1)
        x = self.seed(y).unflatten(1, (-1, 4, 4))
        state, states = torch.zeros_like(x), []
        for _ in range(self.frames):
            state = self.gru(x, state)
            states.append(state)
        x = torch.stack(states, 1).flatten(0, 1)
        y = y.repeat_interleave(self.frames, 0)
        h = self.norm(x) * (1 + self.gain(y))[:, :, None, None] + self.bias(y)[:, :, None, None]
        h = self.conv2(F.relu(self.conv1(F.interpolate(F.relu(h), scale_factor=2))))
        x = h + F.interpolate(x, scale_factor=2)
        return torch.tanh(self.rgb(F.relu(x))).unflatten(0, (-1, self.frames))


class Wav2lip(nn.Module):
    """A face and its masked copy, and a piece of a spectrogram; the decoder reads the face's features."""

    def __init__(self, width: int = 16) -> None:
        super().__init__()

        def conv(inputs: int, outputs: int, stride: int | tuple[int, int] = 1) -> nn.Sequential:
            return nn.Sequential(nn.Conv2d(inputs, outputs, 3, stride, 1), nn.BatchNorm2d(outputs), nn.ReLU())

        def up(inputs: int, outputs: int) -> nn.Sequential:
            return nn.Sequential(
                nn.ConvTranspose2d(inputs, outputs, 3, 2, 1, output_padding=1),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            )

        sizes = (6, width, 2 * width, 4 * width)
        self.face = nn.ModuleList(conv(i, o, 2 if i != 6 else 1) for i, o in itertools.pairwise(sizes))
        self.audio = nn.Sequential(
            conv(1, width),
            conv(width, 2 * width, (5, 2)),
            conv(2 * width, 4 * width, (4, 2)),
            nn.AdaptiveAvgPool2d(1),
        )
        self.decode = nn.ModuleList(
            [conv(4 * width, 4 * width), up(8 * width, 2 * width), up(4 * width, width)]
        )
        self.out = nn.Sequential(conv(2 * width, width), nn.Conv2d(width, 3, 1), nn.Sigmoid())

    def forward(self, faces: Tensor, sound: Tensor) -> Tensor:
        features, x = [], faces
        for block in self.face:
            x = block(x)
            features.append(x)
        x = self.audio(sound).expand(-1, -1, x.shape[2], x.shape[3])
        for block in self.decode:
            x = torch.cat([block(x), features.pop()], 1)
        return self.out(x)


class FirstOrder(nn.Module):
    """Key points move a grid, by which the source's features are warped and weighed."""

    def __init__(self, points: int = 4, width: int = 16) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, width, 7, padding=3), nn.BatchNorm2d(width), nn.ReLU())
        self.down = nn.Sequential(
            nn.Conv2d(width, 2 * width, 3, padding=1), nn.BatchNorm2d(2 * width), nn.ReLU(), nn.AvgPool2d(2)
        )
        self.mask = nn.Conv2d(points, points, 7, padding=3)
        self.occlusion = nn.Conv2d(points, 1, 7, padding=3)
        self.up = nn.Sequential(
            nn.Upsample(scale_factor=2),
            nn.Conv2d(2 * width, width, 3, padding=1),
            nn.BatchNorm2d(width),
            nn.ReLU(),
        )
        self.rgb = nn.Conv2d(width, 3, 7, padding=3)
        line = torch.linspace(-1, 1, 16)
        self.register_buffer("grid", torch.stack(torch.meshgrid(line, line, indexing="xy"), -1))

    def forward(self, picture: Tensor, source: Tensor, driving: Tensor) -> Tensor:
        features = self.down(self.first(picture))
        distance = (self.grid - driving[:, :, None, None]).square().sum(-1)
        heat = torch.exp(-distance / 0.02)
        weights = torch.softmax(self.mask(heat), 1)
        motion = self.grid + (source - driving)[:, :, None, None]
        flow = (weights.unsqueeze(-1) * motion).sum(1)
        warped = F.grid_sample(features, flow, align_corners=True)
        return torch.sigmoid(self.rgb(self.up(warped * torch.sigmoid(self.occlusion(heat)))))


POINTS = [between(-0.8, 0.8, 4, 2, name=name) for name in ("source", "driving")]

ARCHITECTURES = (
    Architecture(
        "MoCoGAN",
        "Tulyakov 2018",
        Mocogan,
        contract(latent(32, name="content"), latent(4, 16, name="noise"), values(4, 3, 32, 32, name="video")),
    ),
    Architecture("TGAN", "Saito 2017", Tgan, contract(latent(32), values(4, 3, 16, 16, name="video"))),
    Architecture(
        "DVD-GAN", "Clark 2019", Dvdgan, contract(latent(32), label(5), values(3, 3, 8, 8, name="video"))
    ),
    Architecture(
        "Wav2Lip",
        "Prajwal 2020",
        Wav2lip,
        contract(picture(channels=6, name="faces"), between(-4.0, 4.0, 1, 20, 16, name="sound"), image()),
    ),
    Architecture("first-order motion", "Siarohin 2019", FirstOrder, contract(picture(), *POINTS, image())),
)
