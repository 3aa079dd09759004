"""Generators of odd kinds, as their users write them: no contract, and constructors of their own."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class DcganArgs(nn.Module):
    def __init__(self, nz, ngf, nc):
        super().__init__()
        self.main = nn.Sequential(
            nn.ConvTranspose2d(nz, ngf * 4, 4, 1, 0, bias=False),
            nn.BatchNorm2d(ngf * 4),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 4, ngf * 2, 4, 2, 1, bias=False),
            nn.BatchNorm2d(ngf * 2),
            nn.ReLU(True),
            nn.ConvTranspose2d(ngf * 2, nc, 4, 2, 1, bias=False),
            nn.Tanh(),
        )

    def forward(self, input: Tensor):
        return self.main(input)


class CGan(nn.Module):
    def __init__(self, latent_dim=62, n_classes=7, img=16):
        super().__init__()
        self.n_classes = n_classes
        self.img = img
        self.net = nn.Sequential(
            nn.Linear(latent_dim + n_classes, 128), nn.LeakyReLU(0.2), nn.Linear(128, img * img), nn.Sigmoid()
        )

    def forward(self, noise: Tensor, labels: Tensor):
        x = torch.cat([noise, F.one_hot(labels, self.n_classes).float()], 1)
        return self.net(x).view(-1, 1, self.img, self.img)


class OneHotIn(nn.Module):
    def __init__(self):
        super().__init__()
        self.e, self.z = nn.Linear(5, 24), nn.Linear(48, 24)
        self.o = nn.Sequential(nn.Linear(48, 3 * 64), nn.Tanh())

    def forward(self, z: Tensor, c: Tensor):
        return self.o(torch.cat([self.z(z), self.e(c)], 1)).view(-1, 3, 8, 8)


class UNet(nn.Module):
    """Seven halvings: sizes are multiples of 128."""

    def __init__(self, in_channels=3, out_channels=3, c=8):
        super().__init__()
        self.d = nn.ModuleList([nn.Conv2d(in_channels if i == 0 else c, c, 4, 2, 1) for i in range(7)])
        self.u = nn.ModuleList(
            [
                nn.ConvTranspose2d(c if i == 0 else 2 * c, c if i < 6 else out_channels, 4, 2, 1)
                for i in range(7)
            ]
        )

    def forward(self, x: Tensor):
        s = []
        for d in self.d:
            x = F.leaky_relu(d(x), 0.2)
            s.append(x)
        for i, u in enumerate(self.u):
            x = u(x if i == 0 else torch.cat([x, s[-1 - i]], 1))
            x = x.relu() if i < 6 else x
        return torch.tanh(x)


class Vocoder(nn.Module):
    def __init__(self, mel=80):
        super().__init__()
        self.pre = nn.Conv1d(mel, 16, 7, padding=3)
        self.up = nn.ConvTranspose1d(16, 8, 16, 8, 4)
        self.post = nn.Conv1d(8, 1, 7, padding=3)

    def forward(self, mel: Tensor):
        return torch.tanh(self.post(F.leaky_relu(self.up(F.leaky_relu(self.pre(mel))))))


class Inpaint(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Conv2d(4, 16, 3, padding=1), nn.ReLU(), nn.Conv2d(16, 3, 3, padding=1))

    def forward(self, image: Tensor, mask: Tensor):
        y = torch.tanh(self.net(torch.cat([image * (1 - mask), mask], 1)))
        return y * mask + image * (1 - mask)


class StarLike(nn.Module):
    def __init__(self, c_dim=5):
        super().__init__()
        self.main = nn.Sequential(
            nn.Conv2d(3 + c_dim, 16, 7, padding=3),
            nn.InstanceNorm2d(16, affine=True, track_running_stats=True),
            nn.ReLU(),
            nn.Conv2d(16, 3, 7, padding=3),
            nn.Tanh(),
        )

    def forward(self, x: Tensor, c: Tensor):
        c = c.view(c.size(0), c.size(1), 1, 1).repeat(1, 1, x.size(2), x.size(3))
        return self.main(torch.cat([x, c], 1))


class Eq(nn.Module):
    def __init__(self, i, o):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(o, i))

    def forward(self, x: Tensor):
        return F.linear(x, self.weight / self.weight.shape[1] ** 0.5)


class Style(nn.Module):
    def __init__(self, z_dim=40, w_dim=24):
        super().__init__()
        self.m = nn.Sequential(Eq(z_dim, w_dim), nn.LeakyReLU(0.2), Eq(w_dim, w_dim))
        self.const = nn.Parameter(torch.randn(1, 16, 4, 4))
        self.conv, self.a = nn.Conv2d(16, 16, 3, padding=1), Eq(24, 16)
        self.rgb = nn.Conv2d(16, 3, 1)

    def forward(self, latents: Tensor, truncation_psi=1.0, return_w=True):
        w = self.m(latents / (latents.square().mean(1, keepdim=True) + 1e-8).sqrt())
        x = F.interpolate(self.const, scale_factor=4).expand(w.size(0), -1, -1, -1)
        x = self.conv(x) * (1 + self.a(w)[:, :, None, None])
        x = x + 0.1 * torch.randn_like(x[:, :1])
        return self.rgb(x), w


class Tokens(nn.Module):
    def __init__(self):
        super().__init__()
        self.e, self.g, self.o = nn.Embedding(50, 16), nn.GRU(16, 32, batch_first=True), nn.Linear(32, 50)

    def forward(self, tokens: Tensor):
        return self.o(self.g(self.e(tokens))[0])


class Series(nn.Module):
    def __init__(self, hidden=24, dim=6):
        super().__init__()
        self.rnn, self.o = nn.LSTM(dim, hidden, batch_first=True), nn.Linear(hidden, dim)

    def forward(self, z: Tensor):
        return self.o(self.rnn(z)[0]).sigmoid()


class Video(nn.Module):
    def __init__(self, z=30):
        super().__init__()
        self.net = nn.Sequential(
            nn.ConvTranspose3d(z, 16, (2, 4, 4)),
            nn.BatchNorm3d(16),
            nn.ReLU(),
            nn.ConvTranspose3d(16, 3, 4, 2, 1),
            nn.Tanh(),
        )

    def forward(self, z: Tensor):
        return self.net(z.view(z.size(0), -1, 1, 1, 1))


class Voxel(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.ConvTranspose3d(33, 16, 4),
            nn.BatchNorm3d(16),
            nn.ReLU(),
            nn.ConvTranspose3d(16, 1, 4, 2, 1),
            nn.Sigmoid(),
        )

    def forward(self, x: Tensor):
        return self.net(x)


class Two(nn.Module):
    def __init__(self):
        super().__init__()
        self.c, self.s = nn.Conv2d(3, 12, 3, padding=1), nn.Linear(8, 12)
        self.o = nn.Conv2d(12, 3, 3, padding=1)

    def forward(self, content: Tensor, style: Tensor):
        return torch.tanh(self.o(F.instance_norm(self.c(content)) * self.s(style)[..., None, None]))


class Sentence(nn.Module):
    """Words as vectors of their own width, by a name that numbers of words have."""

    def __init__(self, z_dim=24, word_dim=20, c=32):
        super().__init__()
        self.seed = nn.Linear(z_dim + word_dim, 16 * c)
        self.look = nn.MultiheadAttention(c, 4, kdim=word_dim, vdim=word_dim, batch_first=True)
        self.rgb = nn.Conv2d(c, 3, 3, padding=1)

    def forward(self, z: Tensor, words: Tensor):
        x = self.seed(torch.cat([z, words.mean(1)], 1)).view(len(z), 16, -1)
        x = x + self.look(x, words, words)[0]
        x = x.transpose(1, 2).unflatten(2, (4, 4))
        return self.rgb(F.interpolate(x, scale_factor=4)).tanh()


class Styles(nn.Module):
    """A table of styles, of which one goes by a name that latents have."""

    def __init__(self, n_styles=6):
        super().__init__()
        self.stem, self.gains = nn.Conv2d(3, 12, 3, padding=1), nn.Embedding(n_styles, 12)
        self.out = nn.Conv2d(12, 3, 3, padding=1)

    def forward(self, image: Tensor, style: Tensor):
        return self.out(F.instance_norm(self.stem(image)) * self.gains(style)[..., None, None]).tanh()


class BigLike(nn.Module):
    def __init__(self, dim_z=40, n_classes=12, shared=16):
        super().__init__()
        self.shared = nn.Embedding(n_classes, shared)
        self.linear = nn.Linear(20, 16 * 16)
        self.bn = nn.BatchNorm2d(16, affine=False)
        self.gain = nn.Linear(20 + shared, 16)
        self.out = nn.Conv2d(16, 3, 3, padding=1)

    def forward(self, z: Tensor, y: Tensor):
        z1, z2 = torch.split(z, 20, 1)
        h = self.bn(self.linear(z1).view(-1, 16, 4, 4))
        h = h * (1 + self.gain(torch.cat([z2, self.shared(y)], 1))[..., None, None])
        return torch.tanh(self.out(F.interpolate(h.relu(), scale_factor=4)))


class Gray(nn.Module):
    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(
            nn.Conv2d(1, 16, 3, 2, 1), nn.BatchNorm2d(16), nn.ReLU(), nn.ConvTranspose2d(16, 2, 4, 2, 1)
        )

    def forward(self, x: Tensor):
        return self.net(x).tanh() * 110


class Vae(nn.Module):
    def __init__(self):
        super().__init__()
        self.post = nn.Conv2d(32, 64, 1)
        self.up = nn.Sequential(
            nn.GroupNorm(8, 64), nn.SiLU(), nn.Upsample(scale_factor=2), nn.Conv2d(64, 3, 3, padding=1)
        )

    def forward(self, z: Tensor):
        return self.up(self.post(z))


class Classes(nn.Module):
    def __init__(self):
        super().__init__()
        self.e = nn.Embedding(11, 32)
        self.o = nn.Sequential(nn.Linear(32, 48), nn.Tanh())

    def forward(self, class_id: Tensor):
        return {"image": self.o(self.e(class_id)).view(-1, 3, 4, 4), "hidden": self.e(class_id)}


class Res(nn.Module):
    def __init__(self, n_res_blocks, dim, input_nc=3, output_nc=3, norm="batch"):
        super().__init__()
        self.inp = nn.Conv2d(input_nc, dim, 7, padding=3)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Conv2d(dim, dim, 3, padding=1), nn.BatchNorm2d(dim)) for _ in range(n_res_blocks)
        )
        self.out = nn.Conv2d(dim, output_nc, 7, padding=3)

    def forward(self, input: Tensor):
        x = self.inp(input)
        for b in self.blocks:
            x = x + b(x).relu()
        return self.out(x).tanh()


class Progressive(nn.Module):
    def __init__(self, z=16):
        super().__init__()
        self.f = nn.ConvTranspose2d(z, 8, 4)
        self.rgbs = nn.ModuleList(nn.Conv2d(8, 3, 1) for _ in range(2))

    def forward(self, z, depth, alpha):
        return torch.tanh(self.rgbs[depth - 1](self.f(z[:, :, None, None]))) * alpha


class Opt(nn.Module):
    def __init__(self, opt):
        super().__init__()
        self.linear = nn.Linear(opt.nz, 12)

    def forward(self, z: Tensor):
        return self.linear(z)


class Refusing(nn.Module):
    def __init__(self, size):
        raise ValueError("'size' must be odd and even")


class AnyLabel(nn.Module):
    def __init__(self, latent_dim=20, n_classes=10):
        super().__init__()
        self.n_classes = n_classes
        self.net = nn.Sequential(nn.Linear(latent_dim + 1, 64), nn.Sigmoid())

    def forward(self, z: Tensor, label: Tensor):
        return self.net(torch.cat([z, label.view(-1, 1).float() / self.n_classes], 1)).view(-1, 1, 8, 8)


class WideOneHot(nn.Module):
    def __init__(self, nz=24, n_classes=6):
        super().__init__()
        self.z, self.y = nn.ConvTranspose2d(nz, 8, 4), nn.ConvTranspose2d(n_classes, 8, 4)
        self.out = nn.ConvTranspose2d(16, 3, 4, 2, 1)

    def forward(self, z: Tensor, y: Tensor):
        return self.out(torch.cat([self.z(z), self.y(y)], 1)).tanh()


class Sung(nn.Module):
    def __init__(self, speakers=5, sampling_rate=16000):
        super().__init__()
        self.sampling_rate = sampling_rate
        self.who, self.mel = nn.Embedding(speakers, 8), nn.Conv1d(40, 8, 3, padding=1)
        self.up, self.out = nn.ConvTranspose1d(9, 8, 16, 8, 4), nn.Conv1d(8, 1, 3, padding=1)

    def forward(self, mel: Tensor, f0: Tensor, speaker_id: Tensor):
        h = self.mel(mel) + self.who(speaker_id)[..., None]
        return self.out(self.up(torch.cat([h, f0[:, None] / 400], 1)).relu()).tanh()


class ByName(nn.Module):
    def __init__(self, z_dim=12):
        super().__init__()
        self.a, self.e = nn.Linear(z_dim, 48), nn.Embedding(4, 48)

    def forward(self, *, z: Tensor, y=None, **more):
        h = self.a(z) if y is None else self.a(z) + self.e(y)
        return {"sample": h.tanh().view(-1, 3, 4, 4)}


class Recurrent(nn.Module):
    """Untrained, a sample of it hardly hangs on the one before, where a batch is taken for a series."""

    def __init__(self, seq_len=24, feat=6):
        super().__init__()
        self.seq_len = seq_len
        self.one, self.two = (nn.GRU(feat, feat, 3, batch_first=True) for _ in range(2))

    def forward(self, Z: Tensor):  # noqa: N803
        return self.two(self.one(Z)[0].sigmoid())[0].sigmoid()


class Guided(nn.Module):
    def __init__(self):
        super().__init__()
        self.low, self.guide = nn.Conv2d(4, 12, 3, padding=1), nn.Conv2d(1, 12, 5, padding=2)
        self.up, self.out = (
            nn.ConvTranspose2d(12, 12, 6, 3, 2, output_padding=1),
            nn.Conv2d(24, 4, 3, padding=1),
        )

    def forward(self, ms, pan):
        ms, pan = F.interpolate(ms, scale_factor=1.0, mode="bicubic"), F.pad(pan, [0] * 4, mode="replicate")
        return torch.sigmoid(self.out(torch.cat([self.up(self.low(ms)), self.guide(pan)], 1)))


class GuidedFirst(nn.Module):
    def __init__(self):
        super().__init__()
        self.depth, self.colour = nn.Conv2d(1, 8, 3, padding=1), nn.Conv2d(3, 8, 3, padding=1)
        self.out = nn.Conv2d(8, 1, 3, padding=1)

    def forward(self, image, depth):
        wide = F.interpolate(self.depth(depth), scale_factor=4, mode="bilinear")
        return torch.tanh(self.out(F.relu(wide + self.colour(image))))


class Stretching(nn.Module):
    def __init__(self):
        super().__init__()
        self.image, self.classes = nn.Conv2d(3, 8, 3, padding=1), nn.Conv2d(7, 8, 3, padding=1)
        self.out = nn.Conv2d(8, 3, 3, padding=1)

    def forward(self, image, seg):
        x = F.relu(self.image(image))
        return torch.tanh(self.out(x * self.classes(F.interpolate(seg, size=x.shape[2:]))))
