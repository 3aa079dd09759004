"""The first layers of MobileNetV2 (Sandler et al. 2018, arXiv:1801.04381), in whose features content and
style are compared while the teacher is trained. Nothing else needs it."""

from torch import Tensor, nn
from torch.nn import functional as F

STAGES = ((24, 2), (32, 3))
"""Width and blocks of those that follow the first block; each halves height and width."""
EXPANSION = 6


class Conv(nn.Conv2d):
    """A convolution padded as TensorFlow's SAME pads, with batch norm folded in; then ReLU6 or nothing."""

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        *,
        linear: bool = False,
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups)
        self.linear = linear

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, inputs, H, W) to (N, outputs, ceil(H / stride), ceil(W / stride))."""
        kernel, stride = self.kernel_size[0], self.stride[0]
        down, across = (max(0, (-(-size // stride) - 1) * stride + kernel - size) for size in x.shape[2:])
        y = super().forward(F.pad(x, (across // 2, across - across // 2, down // 2, down - down // 2)))
        return y if self.linear else F.relu6(y)


class Features(nn.Module):
    """Maps pictures (N, 3, H, W) in [-1, 1] to features (N, 192); H and W are 8 or more."""

    def __init__(self) -> None:
        super().__init__()
        self.c = nn.ModuleList([Conv(3, 32, 3, 2), Conv(32, 32, 3, groups=32), Conv(32, 16, 1, linear=True)])
        width = 16
        for after, blocks in STAGES:
            for index in range(blocks):
                wide = EXPANSION * width
                depthwise = Conv(wide, wide, 3, 1 if index else 2, wide)
                self.c.extend([Conv(width, wide, 1), depthwise, Conv(wide, after, 1, linear=True)])
                width = after
        del self.c[-1]  # the features are those before it

    def forward(self, pictures: Tensor) -> Tensor:
        """Return the deepest features, averaged over places."""
        x = self.c[2](self.c[1](self.c[0](pictures)))
        for index in range(3, len(self.c) - 2, 3):
            y = self.c[index + 2](self.c[index + 1](self.c[index](x)))
            x = x + y if x.shape == y.shape else y
        return self.c[-1](self.c[-2](x)).mean((2, 3))
