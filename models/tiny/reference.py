"""hadal-tiny in numpy, straight from the GGUF file: what any engine that runs this file must compute.

    python3 reference.py "What is 348 + 276?"
    python3 reference.py --check 40        asks held-out questions
    python3 reference.py --logits "Hi"     the ten best next tokens and their logits
    python3 reference.py --drafts "Hi"     every 128th logit of the MTP layer behind each token of a conversation

One token at a time, float32, weights decoded from Q8_0, attention in the absorbed form (the file's `attn_k_b`
and `attn_v_b`). Training used the naive form and PyTorch, so the two programs share no arithmetic.
"""

import argparse
import json
import os

import numpy as np

from gguf_io import read
from tokenizer import ASSISTANT, BOS, SPECIALS, THINK, USER, Tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))


def rms_norm(x, weight, eps):
    return x / np.sqrt(np.mean(x * x, axis=-1, keepdims=True) + eps) * weight


def silu(x):
    return x / (1 + np.exp(-x))


class Model:
    def __init__(self, path):
        self.meta, self.weights = read(path)
        m = lambda key: self.meta["deepseek2." + key]
        self.heads, self.kv_lora = m("attention.head_count"), m("attention.kv_lora_rank")
        self.rope = m("rope.dimension_count")
        self.nope, self.v_head = m("attention.key_length_mla") - self.rope, m("attention.value_length_mla")
        self.layers = m("block_count") - m("nextn_predict_layers")
        self.eps = m("attention.layer_norm_rms_epsilon")
        self.experts, self.used = m("expert_count"), m("expert_used_count")
        self.groups, self.groups_used = m("expert_group_count"), m("expert_group_used_count")
        self.route_scale = m("expert_weights_scale")
        self.frequency = m("rope.freq_base") ** (-np.arange(0, self.rope, 2) / self.rope)
        self.reset()

    def reset(self):
        self.cache = [[] for _ in range(self.meta["deepseek2.block_count"])]

    def tensor(self, layer, name):
        return self.weights["blk.%d.%s" % (layer, name)]

    def rotate(self, x, position):
        """Interleaved pairs (2i, 2i+1), turned by position * frequency[i]."""
        cos, sin = np.cos(position * self.frequency), np.sin(position * self.frequency)
        out = np.empty_like(x)
        out[..., 0::2] = x[..., 0::2] * cos - x[..., 1::2] * sin
        out[..., 1::2] = x[..., 0::2] * sin + x[..., 1::2] * cos
        return out.astype(np.float32)

    def attention(self, layer, x, position):
        w = lambda name: self.tensor(layer, name + ".weight")
        q = w("attn_q_b") @ rms_norm(w("attn_q_a") @ x, w("attn_q_a_norm"), self.eps)
        q = q.reshape(self.heads, self.nope + self.rope)
        q_pe = self.rotate(q[:, self.nope:], position)
        q_latent = np.einsum("hn,hcn->hc", q[:, :self.nope], w("attn_k_b"))
        kv = w("attn_kv_a_mqa") @ x
        latent = rms_norm(kv[:self.kv_lora], w("attn_kv_a_norm"), self.eps)
        self.cache[layer].append(np.concatenate((latent, self.rotate(kv[self.kv_lora:], position))))
        rows = np.stack(self.cache[layer])
        scores = np.concatenate((q_latent, q_pe), axis=1) @ rows.T * (self.nope + self.rope) ** -0.5
        scores = np.exp(scores - scores.max(axis=1, keepdims=True))
        context = scores / scores.sum(axis=1, keepdims=True) @ rows[:, :self.kv_lora]
        return w("attn_output") @ np.einsum("hc,hvc->hv", context, w("attn_v_b")).reshape(-1)

    def route(self, layer, x):
        scores = 1 / (1 + np.exp(-(self.tensor(layer, "ffn_gate_inp.weight") @ x)))
        choice = (scores + self.tensor(layer, "exp_probs_b.bias")).reshape(self.groups, -1)
        group_score = np.sort(choice, axis=1)[:, -2:].sum(axis=1)
        keep = np.argsort(-group_score, kind="stable")[:self.groups_used]
        masked = np.full_like(choice, -np.inf)
        masked[keep] = choice[keep]
        chosen = np.argsort(-masked.reshape(-1), kind="stable")[:self.used]
        return chosen, scores[chosen] / scores[chosen].sum() * self.route_scale

    def feed_forward(self, layer, x):
        w = lambda name: self.tensor(layer, name + ".weight")
        if "blk.%d.ffn_gate.weight" % layer in self.weights:
            return w("ffn_down") @ (silu(w("ffn_gate") @ x) * (w("ffn_up") @ x))
        out = w("ffn_down_shexp") @ (silu(w("ffn_gate_shexp") @ x) * (w("ffn_up_shexp") @ x))
        gate, up, down = w("ffn_gate_exps"), w("ffn_up_exps"), w("ffn_down_exps")
        for e, weight in zip(*self.route(layer, x)):
            out = out + weight * (down[e] @ (silu(gate[e] @ x) * (up[e] @ x)))
        return out

    def block(self, layer, x, position):
        x = x + self.attention(layer, rms_norm(x, self.tensor(layer, "attn_norm.weight"), self.eps), position)
        return x + self.feed_forward(layer, rms_norm(x, self.tensor(layer, "ffn_norm.weight"), self.eps))

    def forward(self, token, position):
        """The hidden state after the last main layer, before the output norm."""
        x = self.weights["token_embd.weight"][token]
        for layer in range(self.layers):
            x = self.block(layer, x, position)
        return x

    def logits(self, hidden):
        return self.weights["output.weight"] @ rms_norm(hidden, self.weights["output_norm.weight"], self.eps)

    def draft(self, next_token, hidden, position):
        """Logits of the token after `next_token`, by the MTP layer. `hidden` and `position` are of the token before."""
        w = lambda name: self.tensor(self.layers, "nextn." + name + ".weight")
        embedded = self.weights["token_embd.weight"][next_token]
        x = w("eh_proj") @ np.concatenate((rms_norm(embedded, w("enorm"), self.eps), rms_norm(hidden, w("hnorm"), self.eps)))
        x = self.block(self.layers, x, position)
        return self.weights["output.weight"] @ rms_norm(x, w("shared_head_norm"), self.eps)


def tokenizer_of(model):
    meta = model.meta
    tok = Tokenizer([m.split(" ") for m in meta["tokenizer.ggml.merges"]], len(meta["tokenizer.ggml.tokens"]))
    if tok.tokens != meta["tokenizer.ggml.tokens"]:
        raise ValueError("the file's tokens do not follow from its merges")
    return tok


def prompt(question, system=""):
    return BOS + system + USER + question + ASSISTANT + THINK + "\n"


def generate(model, tok, text, limit=600, with_draft=False):
    """Greedy. Returns (token ids, accepted drafts, drafts)."""
    model.reset()
    ids, out, accepted, drafts, guess = tok.encode(text), [], 0, 0, None
    hidden = None
    for position in range(len(ids) + limit):
        if position < len(ids):
            token = ids[position]
        else:
            token = int(model.logits(hidden).argmax())
            drafts, accepted = drafts + (guess is not None), accepted + (guess == token)
            out.append(token)
            if token == tok.eos:
                break
        if with_draft and hidden is not None:
            logits = model.draft(token, hidden, position - 1)
            guess = int(logits.argmax()) if position >= len(ids) else None
        hidden = model.forward(token, position)
    return out, accepted, drafts


def answer_of(tok, ids):
    text = tok.decode([i for i in ids if i != tok.eos])
    reasoning, _, answer = text.rpartition("</think>")
    return reasoning, answer.strip()


def check(model, tok, count):
    with open(os.path.join(HERE, "heldout.jsonl"), encoding="utf-8") as source:
        rows = [json.loads(line) for line in source]
    step = max(len(rows) // count, 1)
    right = accepted = drafts = 0
    for row in rows[::step][:count]:
        ids, a, d = generate(model, tok, prompt(row["question"]), with_draft=True)
        answer = answer_of(tok, ids)[1]
        right, accepted, drafts = right + (answer == row["answer"]), accepted + a, drafts + d
        if answer != row["answer"]:
            print("%s\n  expected %s\n  got      %s" % (row["question"], row["answer"], answer))
    print("%d of %d right; MTP draft accepted %d of %d" % (right, len(rows[::step][:count]), accepted, drafts))


def print_drafts(model, tok, question):
    """A line a position from 1: token, the MTP layer's best next token, every 128th of its logits."""
    ids = tok.encode(prompt(question))
    print(ids[0])
    model.reset()
    for position, token in enumerate(ids[1:], 1):
        hidden = model.forward(ids[position - 1], position - 1)
        logits = model.draft(token, hidden, position - 1)
        print(token, logits.argmax(), *("%.5f" % value for value in logits[::128]))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("question", nargs="?")
    parser.add_argument("--model", default=os.path.join(HERE, "hadal-tiny.gguf"))
    parser.add_argument("--check", type=int, default=0)
    parser.add_argument("--logits", action="store_true")
    parser.add_argument("--drafts", action="store_true")
    args = parser.parse_args()
    model = Model(args.model)
    tok = tokenizer_of(model)
    if args.check:
        check(model, tok, args.check)
    if args.question is None:
        return
    if args.drafts:
        print_drafts(model, tok, args.question)
        return
    if args.logits:
        for position, token in enumerate(tok.encode(prompt(args.question))):
            hidden = model.forward(token, position)
        logits = model.logits(hidden)
        for i in np.argsort(-logits)[:10]:
            print("%5d  %9.5f  %r" % (i, logits[i], tok.tokens[i] if tok.tokens[i] in SPECIALS else tok.decode([int(i)])))
        return
    reasoning, answer = answer_of(tok, generate(model, tok, prompt(args.question))[0])
    print("%s\n---\n%s" % (reasoning.strip(), answer))


if __name__ == "__main__":
    main()
