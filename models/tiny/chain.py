"""Trains the MTP layer alone, to guess several tokens in a row: fed with its own state in place of the model's.

The rest of the model stays as it is in the file, bit for bit. Step 1 of a chain is what train.py teaches. In
step j the row of position i is given the token behind i and what step j - 1 left at i - 1; it sees entries made
from the model's own states up to position i - j + 1, and then those of its chain: what an engine does. All rows
are a chain's step j at once.

    python3 chain.py hadal-tiny.gguf out.gguf --minutes 15
    python3 chain.py hadal-tiny.gguf --measure
"""

import argparse
import os
import time

import numpy as np
import torch
import torch.nn.functional as F

import generate
from data import collate, encode, pack, stream
from export_gguf import attention_tensors, ffn_tensors
from gguf_io import F32, q8_0_encode, read
from model import Tiny, linear, rotate, round_q8_0
from muon import Optimizer
from shape import Shape
from tokenizer import Tokenizer
import random

HERE = os.path.dirname(os.path.abspath(__file__))


def load(path):
    """The file's weights as a state of Tiny."""
    s, (_, w) = Shape(), read(path)
    state = {"embed": w["token_embd.weight"], "norm.weight": w["output_norm.weight"], "head": w["output.weight"]}
    names = {"attn_norm.weight": "attn_norm", "attn.q_a": "attn_q_a", "attn.q_a_norm.weight": "attn_q_a_norm",
             "attn.q_b": "attn_q_b", "attn.kv_a": "attn_kv_a_mqa", "attn.kv_a_norm.weight": "attn_kv_a_norm",
             "attn.o": "attn_output", "ffn_norm.weight": "ffn_norm"}
    for i in range(s.layers + s.nextn):
        to, blk = ("layers.%d." % i if i < s.layers else "mtp.layer."), "blk.%d." % i
        for mine, theirs in names.items():
            state[to + mine] = w[blk + theirs + ".weight"]
        state[to + "attn.k_b"] = w[blk + "attn_k_b.weight"].transpose(0, 2, 1).reshape(s.heads * s.nope, s.kv_lora)
        state[to + "attn.v_b"] = w[blk + "attn_v_b.weight"].reshape(s.heads * s.v_head, s.kv_lora)
        both = lambda gate, up: np.concatenate((w[blk + gate + ".weight"], w[blk + up + ".weight"]), -2)
        if i < s.dense_layers:
            state[to + "ffn.gate_up"] = both("ffn_gate", "ffn_up")
            state[to + "ffn.down"] = w[blk + "ffn_down.weight"]
            continue
        state[to + "ffn.router"], state[to + "ffn.bias"] = w[blk + "ffn_gate_inp.weight"], w[blk + "exp_probs_b.bias"]
        state[to + "ffn.gate_up"] = both("ffn_gate_exps", "ffn_up_exps")
        state[to + "ffn.down"] = w[blk + "ffn_down_exps.weight"]
        state[to + "ffn.shared.gate_up"] = both("ffn_gate_shexp", "ffn_up_shexp")
        state[to + "ffn.shared.down"] = w[blk + "ffn_down_shexp.weight"]
    blk = "blk.%d.nextn." % s.layers
    state.update({"mtp.eh_proj": w[blk + "eh_proj.weight"], "mtp.enorm.weight": w[blk + "enorm.weight"],
                  "mtp.hnorm.weight": w[blk + "hnorm.weight"], "mtp.head_norm.weight": w[blk + "shared_head_norm.weight"]})
    model = Tiny(s)
    model.load_state_dict({k: torch.tensor(np.array(v)) for k, v in state.items()})
    return model


class Chain:
    """The MTP layer over a batch, step after step."""

    def __init__(self, model, batch):
        self.model, self.batch = model, batch
        self.layer, self.s = model.mtp.layer, model.s
        self.chunks, self.cos, self.sin = model.place(batch.spans, len(batch.ids))
        with torch.no_grad():
            self.hidden = model.trunk(batch.ids, (self.chunks, self.cos, self.sin))
        self.embedded = model.mtp.enorm(F.embedding(batch.next_ids, model.embed))
        self.keys, self.values = [], []  # of each step
        position = [torch.arange(t).repeat(b) for _, b, t, _ in self.chunks]
        self.position = torch.cat(position + [torch.zeros(len(batch.ids) - sum(map(len, position)), dtype=torch.long)])

    def step(self):
        """The next step's state at every row; garbage where the chain would begin before the text."""
        if self.keys:
            self.hidden = torch.cat((self.hidden[:1], self.hidden[:-1]))
        mtp = self.model.mtp
        x = linear(torch.cat((self.embedded, mtp.hnorm(self.hidden)), -1), mtp.eh_proj)
        x = x + self.attend(self.layer.attn_norm(x))
        self.hidden = x + self.layer.ffn(self.layer.ffn_norm(x))
        return self.hidden

    def attend(self, x):
        s, a, n = self.s, self.layer.attn, x.shape[0]
        q = linear(a.q_a_norm(linear(x, a.q_a)), a.q_b).view(n, s.heads, s.nope + s.rope)
        q_nope, q_pe = q.split((s.nope, s.rope), -1)
        latent, k_pe = linear(x, a.kv_a).split((s.kv_lora, s.rope), -1)
        latent = a.kv_a_norm(latent)
        k_pe = rotate(k_pe.unsqueeze(1), self.cos, self.sin).expand(n, s.heads, s.rope)
        q = torch.cat((q_nope, rotate(q_pe, self.cos, self.sin)), -1) * (s.nope + s.rope) ** -0.5
        self.keys.append(torch.cat((linear(latent, a.k_b).view(n, s.heads, s.nope), k_pe), -1))
        self.values.append(linear(latent, a.v_b).view(n, s.heads, s.v_head))
        out = [self.attend_chunk(q[at:at + b * t], at, b, t) for at, b, t, _ in self.chunks]
        covered = sum(b * t for _, b, t, _ in self.chunks)
        if covered < n:
            out.append(x.new_zeros(n - covered, s.heads * s.v_head))
        return linear(torch.cat(out), a.o)

    def attend_chunk(self, q, at, b, t):
        back = len(self.keys) - 1  # positions that are the chain's own, this one's aside
        part = lambda z: z[at:at + b * t].view(b, t, self.s.heads, -1).transpose(1, 2)
        q = q.view(b, t, self.s.heads, -1).transpose(1, 2)
        hide = torch.full((t, t), -1e9).triu(1 - back)
        scores = [torch.matmul(q, part(self.keys[0]).transpose(-1, -2)) + hide]
        own = []
        for made in range(1, back + 1):
            shift = back - made  # entries of step `made` + 1 lie so far behind this step's
            k, v = (F.pad(part(z[made]), (0, 0, shift, 0))[:, :, :t] for z in (self.keys, self.values))
            scores.append((q * k).sum(-1, keepdim=True))
            own.append(v)
        weights = torch.cat(scores, -1).softmax(-1)
        out = torch.matmul(weights[..., :t], part(self.values[0]))
        for i, v in enumerate(own):
            out = out + weights[..., t + i:t + i + 1] * v
        return out.transpose(1, 2).reshape(b * t, -1)

    def logits(self, rows):
        return linear(self.model.mtp.head_norm(self.hidden.index_select(0, rows)), self.model.head)


def loss(model, batch, steps):
    chain, total, each = Chain(model, batch), 0, []
    for step in range(steps):
        chain.step()
        targets = batch.draft_targets.masked_fill(chain.position[batch.draft_rows] < step, -100)
        each.append(F.cross_entropy(chain.logits(batch.draft_rows), targets))
        total = total + each[-1]
    return total / steps, [x.item() for x in each]


@torch.no_grad()
def measure(model, tok, items, steps):
    """Of each step: the share of right guesses, the text being as expected."""
    right, tried = np.zeros(steps), np.zeros(steps)
    samples = [encode(tok, generate.segments([item])) for item in items]
    for chunk in pack(samples, random.Random(0), 2048):
        batch = collate([chunk], tok.pad, "cpu", 1)
        chain = Chain(model, batch)
        for step in range(steps):
            chain.step()
            valid = chain.position[batch.draft_rows] >= step
            hit = (chain.logits(batch.draft_rows).argmax(-1) == batch.draft_targets) & valid
            right[step] += hit.sum().item()
            tried[step] += valid.sum().item()
    return " ".join("%.1f" % (100 * r / t) for r, t in zip(right, tried))


def train(args, model, tok):
    for name, p in model.named_parameters():
        p.requires_grad_(name.startswith("mtp."))
    mine = torch.nn.ModuleDict({"mtp": model.mtp})
    optimizer = Optimizer(mine, args.lr, args.adam_lr)
    batches = stream(tok, args.seed, args.chunks)
    started, step, sums = time.time(), 0, np.zeros(args.steps)
    while (done := (time.time() - started) / (args.minutes * 60)) < 1:
        total, each = loss(model, next(batches), args.steps)
        total.backward()
        optimizer.step(min(1.0, step / 20 + 0.05, (1 - done) / 0.7))
        step, sums = step + 1, sums + each
        if step % 50 == 0:
            print("%d  %.1f min  losses %s" % (step, done * args.minutes, " ".join("%.3f" % x for x in sums / 50)),
                  flush=True)
            sums[:] = 0


def write(source, target, model):
    """The file `source` with the MTP layer's tensors replaced."""
    s = model.s
    weights = {k[len("mtp."):]: v.detach().numpy() for k, v in model.state_dict().items() if k.startswith("mtp.")}
    under = {k[len("layer."):]: v for k, v in weights.items() if k.startswith("layer.")}
    blk = "blk.%d." % s.layers
    new = attention_tensors(s, under, blk) + ffn_tensors(s, under, blk) + [
        (blk + "nextn.eh_proj.weight", weights["eh_proj"], None),
        (blk + "nextn.enorm.weight", weights["enorm.weight"], F32),
        (blk + "nextn.hnorm.weight", weights["hnorm.weight"], F32),
        (blk + "nextn.shared_head_norm.weight", weights["head_norm.weight"], F32)]
    with open(source, "rb") as file:
        data = bytearray(file.read())
    places = read(source, places=True)
    for name, array, kind in new:
        at, size = places[name]
        blob = np.ascontiguousarray(array, np.float32).tobytes() if kind == F32 else q8_0_encode(array)
        assert len(blob) == size, name
        data[at:at + size] = blob
    with open(target, "wb") as file:
        file.write(data)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("source")
    parser.add_argument("target", nargs="?")
    parser.add_argument("--minutes", type=float, default=15)
    parser.add_argument("--steps", type=int, default=4, help="of a chain")
    parser.add_argument("--lr", type=float, default=2e-3, help="of Muon")
    parser.add_argument("--adam-lr", type=float, default=1e-3)
    parser.add_argument("--chunks", type=int, default=4, help="chunks of 1024 tokens per batch")
    parser.add_argument("--seed", type=int, default=71)
    parser.add_argument("--measure", action="store_true", help="only measure")
    args = parser.parse_args()
    torch.set_num_threads(1)
    linear.low_precision = not args.measure
    tok, model = Tokenizer.load(os.path.join(HERE, "tokenizer.json")), load(args.source)
    if not args.measure:
        train(args, model, tok)
        write(args.source, args.target, model)
        model.load_state_dict(round_q8_0(model.state_dict()))
    linear.low_precision = False
    print("right guesses, %%, by place in the chain: %s"
          % measure(model, tok, generate.held_out_items(200), 8))


if __name__ == "__main__":
    main()
