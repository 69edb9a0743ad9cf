"""hadal-tiny in PyTorch, for training: DeepSeek-V3's blocks (MLA, MoE, MTP) with small numbers.

A batch is flat: all token rows of several *chunks* one after another. A chunk is `b` samples right-padded to
`t` tokens, so that attention needs only the causal mask, and every other operation runs on one tall matrix.
"""

import math

import torch
import torch.nn.functional as F
from torch import nn

from shape import Shape


# Row counts are rounded up to this: the CPU library prepares a kernel for each new shape, and that is slow.
ROUND = 64


class LinearBf16(torch.autograd.Function):
    """y = x w^T with bfloat16 operands: on CPUs with AVX512-BF16 four times the speed of float32."""

    @staticmethod
    def forward(ctx, x, w):
        xb, wb = x.bfloat16(), w.bfloat16()
        ctx.save_for_backward(xb, wb)
        return F.linear(xb, wb).to(x.dtype)

    @staticmethod
    def backward(ctx, dy):
        xb, wb = ctx.saved_tensors
        db = dy.bfloat16()
        return (db @ wb).to(dy.dtype), (db.t() @ xb).to(dy.dtype)


def linear(x, w):
    return LinearBf16.apply(x, w) if linear.low_precision else F.linear(x, w)


linear.low_precision = False


class Norm(nn.Module):
    def __init__(self, size, eps):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.eps = eps

    def forward(self, x):
        return x * torch.rsqrt(x.square().mean(-1, keepdim=True) + self.eps) * self.weight


def matrix(*shape, gain=1.0):
    return nn.Parameter(torch.randn(*shape) * (gain / math.sqrt(shape[-1])))


def rotate(x, cos, sin):
    """RoPE on interleaved pairs (2i, 2i+1). x: [n, heads, rope]; cos, sin: [n, 1, rope/2]."""
    even, odd = x[..., 0::2], x[..., 1::2]
    return torch.stack((even * cos - odd * sin, even * sin + odd * cos), -1).flatten(-2)


class Attention(nn.Module):
    """Multi-head latent attention, naive form: the latent is expanded to keys and values."""

    def __init__(self, s: Shape, depth):
        super().__init__()
        self.s = s
        self.q_a = matrix(s.q_lora, s.hidden)
        self.q_a_norm = Norm(s.q_lora, s.eps)
        self.q_b = matrix(s.heads * (s.nope + s.rope), s.q_lora)
        self.kv_a = matrix(s.kv_lora + s.rope, s.hidden)
        self.kv_a_norm = Norm(s.kv_lora, s.eps)
        self.k_b = matrix(s.heads * s.nope, s.kv_lora)
        self.v_b = matrix(s.heads * s.v_head, s.kv_lora)
        self.o = matrix(s.hidden, s.heads * s.v_head, gain=1 / math.sqrt(2 * depth))

    def forward(self, x, chunks, cos, sin):
        s, n = self.s, x.shape[0]
        q = linear(self.q_a_norm(linear(x, self.q_a)), self.q_b).view(n, s.heads, s.nope + s.rope)
        q_nope, q_pe = q.split((s.nope, s.rope), -1)
        latent, k_pe = linear(x, self.kv_a).split((s.kv_lora, s.rope), -1)
        latent = self.kv_a_norm(latent)
        k_nope = linear(latent, self.k_b).view(n, s.heads, s.nope)
        v = linear(latent, self.v_b).view(n, s.heads, s.v_head)
        k_pe = rotate(k_pe.unsqueeze(1), cos, sin).expand(n, s.heads, s.rope)
        q = torch.cat((q_nope, rotate(q_pe, cos, sin)), -1) * (s.nope + s.rope) ** -0.5
        k = torch.cat((k_nope, k_pe), -1)
        out = [self.attend(q[a:a + b * t], k[a:a + b * t], v[a:a + b * t], b, t, bias)
               for a, b, t, bias in chunks]
        covered = sum(b * t for _, b, t, _ in chunks)
        if covered < n:
            out.append(x.new_zeros(n - covered, s.heads * s.v_head))
        return linear(torch.cat(out), self.o)

    def attend(self, q, k, v, b, t, bias):
        q, k, v = (z.view(b, t, self.s.heads, -1).transpose(1, 2) for z in (q, k, v))
        scores = torch.matmul(q, k.transpose(-1, -2)) + bias
        return torch.matmul(scores.softmax(-1), v).transpose(1, 2).reshape(b * t, -1)


class Mlp(nn.Module):
    def __init__(self, hidden, inter, depth):
        super().__init__()
        self.gate_up = matrix(2 * inter, hidden)
        self.down = matrix(hidden, inter, gain=1 / math.sqrt(2 * depth))

    def forward(self, x):
        gate, up = linear(x, self.gate_up).chunk(2, -1)
        return linear(F.silu(gate) * up, self.down)


class Moe(nn.Module):
    def __init__(self, s: Shape, depth):
        super().__init__()
        self.s = s
        self.router = matrix(s.experts, s.hidden)
        self.register_buffer("bias", torch.zeros(s.experts))  # e_score_correction_bias
        self.register_buffer("load", torch.zeros(s.experts), persistent=False)
        gain = 1 / math.sqrt(2 * depth)
        self.gate_up = matrix(s.experts, 2 * s.expert_inter, s.hidden)
        self.down = matrix(s.experts, s.hidden, s.expert_inter, gain=gain)
        self.shared = Mlp(s.hidden, s.shared_experts * s.expert_inter, depth)

    def route(self, x):
        """noaux_tc: the bias chooses, the unbiased sigmoid scores weigh."""
        s = self.s
        scores = torch.sigmoid(F.linear(x, self.router))
        with torch.no_grad():
            choice = (scores + self.bias).view(-1, s.groups, s.experts // s.groups)
            best = choice.topk(2, -1)[0].sum(-1).topk(s.groups_used, -1)[1]
            keep = torch.zeros_like(choice[..., 0]).scatter_(1, best, 1.0).unsqueeze(-1)
            choice = torch.where(keep > 0, choice, torch.full_like(choice, -1e9)).flatten(1)
            chosen = choice.topk(s.experts_used, -1)[1]
        weights = scores.gather(1, chosen)
        weights = weights / (weights.sum(-1, keepdim=True) + 1e-20) * s.route_scale
        return chosen, weights

    def forward(self, x):
        chosen, weights = self.route(x)
        slots = chosen.flatten()
        order = slots.argsort()
        counts = torch.bincount(slots, minlength=self.s.experts)
        if self.training:
            self.load += counts
        sizes = torch.div(counts + ROUND - 1, ROUND, rounding_mode="floor") * ROUND
        gap = (sizes.cumsum(0) - sizes) - (counts.cumsum(0) - counts)  # filler rows before each expert
        at = torch.arange(len(slots), device=x.device) + gap.index_select(0, slots.index_select(0, order))
        rows = torch.zeros(int(sizes.sum()), dtype=torch.long, device=x.device)
        rows[at] = torch.div(order, self.s.experts_used, rounding_mode="floor")
        scale = torch.zeros(len(rows), device=x.device).index_copy(0, at, weights.flatten().index_select(0, order))
        parts = x.index_select(0, rows).split(sizes.tolist())
        out = [linear(self.gated(part, e), self.down[e]) for e, part in enumerate(parts) if len(part)]
        return self.shared(x).index_add(0, rows, torch.cat(out) * scale.unsqueeze(1))

    def gated(self, part, expert):
        gate, up = linear(part, self.gate_up[expert]).chunk(2, -1)
        return F.silu(gate) * up

    def balance(self, speed):
        """Aux-loss-free balancing: an overloaded expert becomes a little less likely to be chosen."""
        self.bias -= speed * torch.sign(self.load - self.load.mean())
        self.load.zero_()


class Layer(nn.Module):
    def __init__(self, s: Shape, dense):
        super().__init__()
        self.attn_norm = Norm(s.hidden, s.eps)
        self.attn = Attention(s, s.layers)
        self.ffn_norm = Norm(s.hidden, s.eps)
        self.ffn = Mlp(s.hidden, s.dense_inter, s.layers) if dense else Moe(s, s.layers)

    def forward(self, x, *place):
        x = x + self.attn(self.attn_norm(x), *place)
        return x + self.ffn(self.ffn_norm(x))


class NextToken(nn.Module):
    """The multi-token-prediction layer: hidden state of token i and embedding of i+1 predict i+2."""

    def __init__(self, s: Shape):
        super().__init__()
        self.enorm, self.hnorm = Norm(s.hidden, s.eps), Norm(s.hidden, s.eps)
        self.eh_proj = matrix(s.hidden, 2 * s.hidden)
        self.layer = Layer(s, dense=False)
        self.head_norm = Norm(s.hidden, s.eps)

    def forward(self, embedded, hidden, *place):
        x = linear(torch.cat((self.enorm(embedded), self.hnorm(hidden)), -1), self.eh_proj)
        return self.layer(x, *place)


class Tiny(nn.Module):
    def __init__(self, s: Shape):
        super().__init__()
        self.s = s
        self.embed = nn.Parameter(torch.randn(s.vocab, s.hidden) * 0.5)
        self.layers = nn.ModuleList(Layer(s, i < s.dense_layers) for i in range(s.layers))
        self.norm = Norm(s.hidden, s.eps)
        self.head = matrix(s.vocab, s.hidden, gain=0.5)
        self.mtp = NextToken(s)
        frequency = s.rope_theta ** (-torch.arange(0, s.rope, 2).float() / s.rope)
        angle = torch.arange(s.context).float()[:, None] * frequency
        self.register_buffer("cos", angle.cos(), persistent=False)
        self.register_buffer("sin", angle.sin(), persistent=False)

    def place(self, spans, rows):
        """spans: (first row, samples, tokens) of each chunk; rows: all rows, the last ones may be filler.

        Returns chunks with masks, cos, sin.
        """
        device = self.embed.device
        filler = rows - sum(b * t for _, b, t in spans)
        positions = torch.cat([torch.arange(t, device=device).repeat(b) for _, b, t in spans]
                              + [torch.zeros(filler, dtype=torch.long, device=device)])
        chunks = [(a, b, t, torch.full((t, t), -1e9, device=device).triu(1)) for a, b, t in spans]
        return chunks, self.cos[positions].unsqueeze(1), self.sin[positions].unsqueeze(1)

    def trunk(self, ids, place):
        x = F.embedding(ids, self.embed)
        for layer in self.layers:
            x = layer(x, *place)
        return x

    def logits(self, x):
        return linear(self.norm(x), self.head)

    def draft_logits(self, hidden, next_ids, place):
        x = self.mtp(F.embedding(next_ids, self.embed), hidden, *place)
        return linear(self.mtp.head_norm(x), self.head)

    def loss(self, batch, mtp_weight):
        """batch: ids, next ids, spans, rows with a target, target, rows and targets of the draft."""
        place = self.place(batch.spans, len(batch.ids))
        hidden = self.trunk(batch.ids, place)
        main = F.cross_entropy(self.logits(hidden.index_select(0, batch.rows)), batch.targets)
        if mtp_weight == 0:
            return main, main.detach(), torch.zeros(())
        x = self.mtp(F.embedding(batch.next_ids, self.embed), hidden, *place)
        x = linear(self.mtp.head_norm(x.index_select(0, batch.draft_rows)), self.head)
        draft = F.cross_entropy(x, batch.draft_targets)
        return main + mtp_weight * draft, main.detach(), draft.detach()

    def moes(self):
        return [m for m in self.modules() if isinstance(m, Moe)]


def round_q8_0(state):
    """The weights as the GGUF file will hold them: what is a matrix goes through Q8_0, the rest stays."""
    out = {}
    for name, w in state.items():
        if w.dim() < 2 or name.endswith("router"):
            out[name] = w
            continue
        rows = w
        if name.endswith("k_b"):  # stored per head as (kv_lora, nope): blocks run along `nope`
            rows = w.view(-1, 32, w.shape[-1]).transpose(1, 2)
        blocks = rows.reshape(-1, 32)
        scale = blocks.abs().amax(1, keepdim=True) / 127
        q = torch.where(scale > 0, (blocks / scale.clamp_min(1e-30)).round().clamp(-127, 127), blocks)
        back = (q * scale.half().float()).view(rows.shape)
        out[name] = back.transpose(1, 2).reshape(w.shape) if name.endswith("k_b") else back.view(w.shape)
    return out
