"""The attentive probe's head, one or many side by side on the same features.

Source: the attentive probe of the OneVision-Encoder page (Tables 4 and 5), with the head of its released evaluation: a
learned query attends to the tokens (hidden / 64 heads), r + mlp(RMSNorm(r)) follows, then LayerNorm and a linear layer.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_NORM_EPS = 1e-5  # of the LayerNorm; the RMSNorm has the machine epsilon of its input's type


def attention_heads(hidden_size: int) -> int:
    """Attention heads of a probe on features of `hidden_size` channels: one for every 64, at least one.

    Raises:
        ValueError: the channels cannot be split evenly among them.
    """
    heads = max(1, hidden_size // 64)
    if hidden_size < 1 or hidden_size % heads:
        raise ValueError(f"hidden_size must split evenly into {heads} attention heads, got {hidden_size}")
    return heads


class _Pool(nn.Module):
    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.probe = nn.Parameter(torch.empty(1, 1, hidden_size))
        # Holds the projections under their usual names; `attentive_logits` does the attention.
        self.attention = nn.MultiheadAttention(hidden_size, attention_heads(hidden_size), batch_first=True)
        self.norm = nn.RMSNorm(hidden_size)
        self.mlp = _MLP(hidden_size)


class _MLP(nn.Module):
    def __init__(self, hidden_size: int) -> None:
        super().__init__()
        self.fc1 = nn.Linear(hidden_size, 4 * hidden_size)
        self.fc2 = nn.Linear(4 * hidden_size, hidden_size)


class AttentiveHead(nn.Module):
    """A probe: attention pooling with one learned query, LayerNorm, linear layer.

    Linear layers begin with a truncated normal distribution of deviation 0.02 (the last one a thousandth of it) and no
    bias, the query with N(0, 1), the joint projection of the attention with Xavier's uniform distribution.

    Args:
        hidden_size: channels of the features.
        num_classes: classes to tell apart.
        generator: source of the initial values; PyTorch's global one where None.
    """

    def __init__(self, hidden_size: int, num_classes: int, generator: torch.Generator | None = None) -> None:
        super().__init__()
        if num_classes < 1:
            raise ValueError(f"num_classes must be positive, got {num_classes}")
        self.pool = _Pool(hidden_size)
        self.norm = nn.LayerNorm(hidden_size, eps=_NORM_EPS)
        self.fc = nn.Linear(hidden_size, num_classes)
        nn.init.normal_(self.pool.probe, generator=generator)
        nn.init.xavier_uniform_(self.pool.attention.in_proj_weight, generator=generator)
        for module in self.modules():
            if isinstance(module, nn.Linear):
                nn.init.trunc_normal_(module.weight, std=0.02, generator=generator)
                nn.init.zeros_(module.bias)
        with torch.no_grad():
            self.fc.weight.mul_(1e-3)

    def forward(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits (B, classes) of features (B, L, hidden), of which `lengths` (B,) count; all where None."""
        state = {name: parameter[None] for name, parameter in self.named_parameters()}
        return attentive_logits(state, tokens, lengths)[0]


class HeadStack:
    """Probes of one shape side by side: every parameter has a first axis of the heads.

    Attributes:
        state: stacked parameters by the names of `AttentiveHead`, leaves that take gradients.
    """

    def __init__(self, heads: Sequence[AttentiveHead]) -> None:
        if not heads:
            raise ValueError("there must be at least one head")
        states = [head.state_dict() for head in heads]
        self.state: dict[str, Tensor] = {
            name: torch.stack([state[name] for state in states]).detach().requires_grad_() for name in states[0]
        }

    def __len__(self) -> int:
        return len(self.state["fc.bias"])

    @property
    def hidden_size(self) -> int:
        return self.state["fc.weight"].shape[2]

    @property
    def num_classes(self) -> int:
        return self.state["fc.weight"].shape[1]

    def to(self, device: torch.device | str) -> HeadStack:
        """Moves the parameters, in place of the old ones."""
        self.state = {name: value.detach().to(device).requires_grad_() for name, value in self.state.items()}
        return self

    def __call__(self, tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
        """Logits (heads, B, classes), as `attentive_logits`."""
        return attentive_logits(self.state, tokens, lengths)

    def head(self, index: int) -> AttentiveHead:
        """A copy of one of the heads."""
        head = AttentiveHead(self.hidden_size, self.num_classes)
        head.load_state_dict({name: value[index].detach() for name, value in self.state.items()})
        return head.eval()

    def parameters_of(self, index: int) -> Iterator[tuple[Tensor, nn.Parameter]]:
        """For every parameter the stack, and one head's share of its memory as an optimiser takes it.

        An optimiser's step on the second changes the first; the gradient has to be handed from the first to the second.
        """
        for value in self.state.values():
            yield value, nn.Parameter(value.detach()[index])


def attentive_logits(state: Mapping[str, Tensor], tokens: Tensor, lengths: Tensor | None = None) -> Tensor:
    """Logits of several probes on the same features.

    The query of a probe does not depend on the clip. So it goes through the key projection once, instead of every token
    (q . (W x) = (W^T q) . x), and the values are projected after they are averaged, instead of before. For P probes the
    tokens are read as one matrix product with P * heads columns. The key bias adds the same to all scores of a query,
    so it has no effect and takes no part.

    Args:
        state: parameters by the names of `AttentiveHead`, each with a first axis of P probes.
        tokens: (B, L, hidden) features; beyond `lengths` they may be anything finite. Only the products with them are
            made in their type, all else in that of the parameters.
        lengths: (B,) integers from 1 to L, how many of the tokens count; all where None.

    Returns:
        (P, B, classes) logits.

    Raises:
        ValueError: the shapes do not fit.
    """
    probe = state["pool.probe"][:, 0, 0]
    count, hidden = probe.shape
    if tokens.ndim != 3 or tokens.shape[2] != hidden or tokens.shape[1] == 0:
        raise ValueError(f"tokens must be (B, L, {hidden}) with L > 0, got {tuple(tokens.shape)}")
    if lengths is not None and lengths.shape != (len(tokens),):
        raise ValueError(f"lengths must be ({len(tokens)},), got {tuple(lengths.shape)}")
    heads = attention_heads(hidden)
    w_q, w_k, w_v = state["pool.attention.in_proj_weight"].chunk(3, dim=1)
    b_q, _, b_v = state["pool.attention.in_proj_bias"].chunk(3, dim=1)

    query = torch.einsum("pod,pd->po", w_q, probe) + b_q
    query = query.unflatten(1, (heads, -1)) * (hidden // heads) ** -0.5
    keys = torch.einsum("phe,phed->phd", query, w_k.unflatten(1, (heads, -1)))
    scores = (tokens @ keys.flatten(0, 1).T.to(tokens.dtype)).to(keys.dtype)  # (B, L, P * heads)
    if lengths is not None:
        beyond = torch.arange(tokens.shape[1], device=tokens.device) >= lengths.to(tokens.device)[:, None]
        scores = scores.masked_fill(beyond[..., None], -torch.inf)
    mixed = (scores.softmax(dim=1).mT.to(tokens.dtype) @ tokens).to(keys.dtype)  # (B, P * heads, hidden)
    values = torch.einsum("bphd,phed->pbhe", mixed.unflatten(1, (count, heads)), w_v.unflatten(1, (heads, -1)))

    pooled = _linear(state, "pool.attention.out_proj", values.flatten(2) + b_v[:, None])
    x = F.rms_norm(pooled, (hidden,)) * state["pool.norm.weight"][:, None]
    pooled = pooled + _linear(state, "pool.mlp.fc2", F.gelu(_linear(state, "pool.mlp.fc1", x)))
    x = F.layer_norm(pooled, (hidden,), eps=_NORM_EPS) * state["norm.weight"][:, None] + state["norm.bias"][:, None]
    return _linear(state, "fc", x)


def _linear(state: Mapping[str, Tensor], name: str, x: Tensor) -> Tensor:
    """Every head's linear layer on its own rows, (P, B, in) to (P, B, out)."""
    return torch.baddbmm(state[f"{name}.bias"][:, None], x, state[f"{name}.weight"].mT)
