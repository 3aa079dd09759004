"""Fast neural style, "candy", from the PyTorch examples (BSD-3): InstanceNorm and reflection padding."""

from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from edgegan.runtime.contract import Contract, Input, Output, Sample

CHECKPOINT = "generators/fast_neural_style_candy/candy_state_dict_fp32.pt"
CONTRACT = Contract(
    (Input("image", (3, 32, 32), sample=Sample("uniform", 0.0, 255.0)),),
    (Output("styled", (3, 32, 32), (0.0, 255.0)),),
)


class Convolution(nn.Module):
    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, upsample: int = 1) -> None:
        super().__init__()
        self.upsample = upsample
        self.reflection_pad = nn.ReflectionPad2d(kernel // 2)
        self.conv2d = nn.Conv2d(inputs, outputs, kernel, stride)

    def forward(self, x: Tensor) -> Tensor:
        if self.upsample > 1:
            x = F.interpolate(x, scale_factor=self.upsample, mode="nearest")
        return self.conv2d(self.reflection_pad(x))


class Residual(nn.Module):
    def __init__(self, width: int) -> None:
        super().__init__()
        self.conv1, self.in1 = Convolution(width, width, 3), nn.InstanceNorm2d(width, affine=True)
        self.conv2, self.in2 = Convolution(width, width, 3), nn.InstanceNorm2d(width, affine=True)

    def forward(self, x: Tensor) -> Tensor:
        return self.in2(self.conv2(F.relu(self.in1(self.conv1(x))))) + x


class Generator(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.conv1, self.in1 = Convolution(3, 32, 9), nn.InstanceNorm2d(32, affine=True)
        self.conv2, self.in2 = Convolution(32, 64, 3, stride=2), nn.InstanceNorm2d(64, affine=True)
        self.conv3, self.in3 = Convolution(64, 128, 3, stride=2), nn.InstanceNorm2d(128, affine=True)
        self.res1, self.res2, self.res3, self.res4, self.res5 = (Residual(128) for _ in range(5))
        self.deconv1, self.in4 = Convolution(128, 64, 3, upsample=2), nn.InstanceNorm2d(64, affine=True)
        self.deconv2, self.in5 = Convolution(64, 32, 3, upsample=2), nn.InstanceNorm2d(32, affine=True)
        self.deconv3 = Convolution(32, 3, 9)

    def forward(self, image: Tensor) -> Tensor:
        x = F.relu(self.in1(self.conv1(image)))
        x = F.relu(self.in2(self.conv2(x)))
        x = F.relu(self.in3(self.conv3(x)))
        x = self.res5(self.res4(self.res3(self.res2(self.res1(x)))))
        x = F.relu(self.in4(self.deconv1(x)))
        x = F.relu(self.in5(self.deconv2(x)))
        return self.deconv3(x)


def load(data: Path) -> nn.Module:
    module = Generator()
    module.load_state_dict(torch.load(data / CHECKPOINT, weights_only=True, map_location="cpu"))
    return module.eval()
