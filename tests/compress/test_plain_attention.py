"""`nn.MultiheadAttention` as linear layers: the same outputs, and channels that can be lost."""

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from edgegan.compress.plain_attention import Attention, make_attention_plain
from edgegan.compress.prune import Prune, PruneSettings
from edgegan.compress.rewrite import trace
from edgegan.compress.stage import Candidate, Context
from edgegan.runtime.contract import Contract, Input, Output

CONTRACT = Contract((Input("z", (9, 24)),), (Output("y", (9, 24), layout=""),))


@pytest.mark.parametrize("batch_first", [True, False])
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("sizes", [{}, {"kdim": 10, "vdim": 14}])
def test_it_gives_what_torchs_gives(batch_first: bool, bias: bool, sizes: dict[str, Any]) -> None:
    torch.manual_seed(0)
    whole = nn.MultiheadAttention(24, 4, bias=bias, batch_first=batch_first, **sizes).eval()
    plain = Attention(whole)
    lengths = ((3, 5), (3, 7), (3, 7)) if batch_first else ((5, 3), (7, 3), (7, 3))
    widths = (24, sizes.get("kdim", 24), sizes.get("vdim", 24))
    rows = [torch.randn(*length, width) for length, width in zip(lengths, widths)]
    late, padded = torch.ones(5, 7).triu(2).bool(), torch.tensor([[0] * 7, [0] * 6 + [1], [0] * 5 + [1] * 2])
    masks: list[dict[str, Any]] = [
        {},
        {"need_weights": False},
        {"attn_mask": late},
        {"attn_mask": torch.randn(5, 7), "need_weights": False},
        {"attn_mask": torch.randn(12, 5, 7), "average_attn_weights": False},
        {"key_padding_mask": padded.bool(), "attn_mask": late},
    ]
    for how in masks:
        torch.testing.assert_close(plain(*rows, **how), whole(*rows, **how), rtol=1e-4, atol=1e-5)
    alone = [
        row.squeeze(0 if batch_first else 1)
        for row in (one.split(1, 0 if batch_first else 1)[0] for one in rows)
    ]
    torch.testing.assert_close(plain(*alone), whole(*alone), rtol=1e-4, atol=1e-5)


class Transformed(nn.Module):
    """torch's own transformer, of an encoder and a decoder layer."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder = nn.TransformerEncoder(
            nn.TransformerEncoderLayer(24, 3, 40, batch_first=True, norm_first=True),
            2,
            enable_nested_tensor=False,
        )
        self.decoder = nn.TransformerDecoderLayer(24, 3, 40, batch_first=True)
        self.register_buffer("mask", torch.full((9, 9), -torch.inf).triu(1))

    def forward(self, z: Tensor) -> Tensor:
        return self.decoder(z, self.encoder(z), tgt_mask=self.mask)


def test_torchs_transformer_loses_features_of_its_heads(tmp_path: Path) -> None:
    torch.manual_seed(0)
    module = Transformed().eval().requires_grad_(False)
    z = torch.randn(4, 9, 24)
    before = module(z)
    assert len(make_attention_plain(module, CONTRACT)) == 4
    torch.testing.assert_close(module(z), before, rtol=1e-4, atol=1e-5)
    assert torch.allclose(trace(module, CONTRACT)(z), before, rtol=1e-4, atol=1e-5)
    stage, candidate = Prune(PruneSettings(channels=0.6, align=2)), Candidate(module, module, CONTRACT)
    after = stage.run(candidate, Context(tmp_path))
    stage.ensures(candidate, after)
    for name in ("encoder.layers.0.self_attn", "decoder.self_attn", "decoder.multihead_attn"):
        student = after.student.get_submodule(name)
        assert isinstance(student, Attention)
        assert student.query.out_features < 24
        assert student.value.out_features == student.out_proj.in_features < 24
