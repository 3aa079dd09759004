"""Attention of torch's own, whose projections lie in one weight, as linear layers that stages know."""

from __future__ import annotations

from inspect import signature
from types import MethodType
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.utils import parametrize

from edgegan.compress.plain_layers import put_where_equal
from edgegan.runtime.contract import Contract

HINTS = {"is_causal", "tgt_is_causal", "memory_is_causal"}


def make_attention_plain(module: nn.Module, contract: Contract) -> list[str]:
    """Replace each `nn.MultiheadAttention` of `module` by an `Attention`, in place; return their names.

    Where the outputs would change by more than rounding, they are left alone. Transformers of torch's read no
    more from their masks whether these are causal, which is a hint to kernels, and cannot be traced.
    """
    for layer in module.modules():
        if isinstance(layer, (nn.TransformerEncoder, nn.TransformerDecoder)):
            layer.forward = MethodType(_without_hints, layer)
    plain = {
        name: Attention(layer)
        for name, layer in module.named_modules()
        if name and type(layer) is nn.MultiheadAttention and _is_usual(layer)
    }
    return list(plain) if plain and put_where_equal(module, contract, plain) else []


def _without_hints(self: nn.Module, *args: Any, **kwargs: Any) -> Any:
    written = type(self).forward
    given = signature(written).bind(self, *args, **kwargs)
    given.apply_defaults()
    for name in HINTS & given.arguments.keys():
        given.arguments[name] = bool(given.arguments[name])
    return written(*given.args, **given.kwargs)


def _is_usual(layer: nn.MultiheadAttention) -> bool:
    hooked = layer._forward_hooks or layer._forward_pre_hooks or parametrize.is_parametrized(layer)
    return layer.bias_k is None and not layer.add_zero_attn and not hooked


class Attention(nn.Module):
    """`nn.MultiheadAttention` (Vaswani et al. 2017, arXiv:1706.03762), called as that is.

    Its heads lose features, or it loses heads; the scale stays that of the heads that it was trained with.
    """

    in_proj_bias = None
    """By which torch's transformer layers see that their own fused kernels are not for it."""

    def __init__(self, of: nn.MultiheadAttention) -> None:
        super().__init__()
        self.num_heads, self.batch_first, self.scale = of.num_heads, of.batch_first, of.head_dim**-0.5
        weights = [of.q_proj_weight, of.k_proj_weight, of.v_proj_weight]
        if of.in_proj_weight is not None:
            weights = list(of.in_proj_weight.chunk(3))
        biases = [None] * 3 if of.in_proj_bias is None else of.in_proj_bias.chunk(3)
        self.query, self.key, self.value = map(_linear, weights, biases)
        self.out_proj = _linear(of.out_proj.weight, of.out_proj.bias)
        self.train(of.training)

    def forward(
        self,
        query: Tensor,
        key: Tensor,
        value: Tensor,
        key_padding_mask: Tensor | None = None,
        need_weights: bool = True,
        attn_mask: Tensor | None = None,
        average_attn_weights: bool = True,
        is_causal: bool = False,
    ) -> tuple[Tensor, Tensor | None]:
        """Return what `nn.MultiheadAttention` returns; see there. `is_causal` is a hint alone."""
        single, second = query.dim() == 2, not self.batch_first
        rows: list[Tensor] = [query, key, value]
        if single:
            rows = [row[None] for row in rows]
        elif second:
            rows = [row.transpose(0, 1) for row in rows]
        parts = (layer(row) for layer, row in zip((self.query, self.key, self.value), rows))
        q, k, v = (part.view(*part.shape[:2], self.num_heads, -1).transpose(1, 2) for part in parts)
        mask = self._mask(attn_mask, key_padding_mask, q.dtype)
        weights = None
        if need_weights:
            scores = (q * self.scale) @ k.transpose(-2, -1)
            weights = (scores if mask is None else scores + mask).softmax(-1)
            made = weights @ v
            weights = weights.mean(1) if average_attn_weights else weights
        else:
            made = F.scaled_dot_product_attention(q, k, v, mask, scale=self.scale)
        made = self.out_proj(made.transpose(1, 2).flatten(2))
        if single:
            return made[0], None if weights is None else weights[0]
        return made.transpose(0, 1) if second else made, weights

    def _mask(self, of_pairs: Tensor | None, of_keys: Tensor | None, dtype: torch.dtype) -> Tensor | None:
        """Return what is added to the scores (N or 1, heads or 1, L or 1, S)."""
        mask = None
        if of_pairs is not None:
            shape = (1, 1) if of_pairs.dim() == 2 else (-1, self.num_heads)
            mask = _added(of_pairs, dtype).view(*shape, *of_pairs.shape[-2:])
        if of_keys is not None:
            keys = _added(of_keys, dtype).view(-1, 1, 1, of_keys.shape[-1])
            mask = keys if mask is None else mask + keys
        return mask


def _added(mask: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a mask as what is added: of one that says what is left out, minus infinity there."""
    return (
        mask
        if mask.dtype != torch.bool
        else torch.zeros_like(mask, dtype=dtype).masked_fill(mask, -torch.inf)
    )


def _linear(weight: Tensor, bias: Any) -> nn.Linear:
    made = nn.Linear(weight.shape[1], weight.shape[0], bias is not None, device="meta")
    made.weight = nn.Parameter(weight.detach().clone(), requires_grad=weight.requires_grad)
    if bias is not None:
        made.bias = nn.Parameter(bias.detach().clone(), requires_grad=bias.requires_grad)
    return made
