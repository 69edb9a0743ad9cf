"""Exact accuracy on the held-out set, per category, and how often the MTP draft is right.

The model reads the expected answer and must prefer each of its tokens: then, and only then, greedy decoding writes
exactly this text. An answer reached by another reasoning counts as wrong here, so the figure is a lower bound.
"""

import argparse
import os
import random
from collections import defaultdict

import torch

import generate
from data import collate, encode, pack
from model import Tiny, linear, round_q8_0
from shape import Shape
from tokenizer import Tokenizer

HERE = os.path.dirname(os.path.abspath(__file__))


@torch.no_grad()
def measure(model, tok, items, device="cpu"):
    """Returns ({category: [right, asked]}, wrong items, accepted drafts, drafts)."""
    model.eval()
    samples = [encode(tok, generate.segments([item])) + (item,) for item in items]
    chunks = pack(samples, random.Random(0), 2048)
    table, wrong, accepted, drafts = defaultdict(lambda: [0, 0]), [], 0, 0
    for chunk in chunks:
        batch = collate([[(ids, prompt) for ids, prompt, _ in chunk]], tok.pad, device, 1)
        place = model.place(batch.spans, len(batch.ids))
        hidden = model.trunk(batch.ids, place)
        best = model.logits(hidden.index_select(0, batch.rows)).argmax(-1)
        ok = torch.ones(len(chunk), dtype=torch.bool)
        ok[batch.samples[(best != batch.targets).cpu()]] = False
        for right, (_, _, item) in zip(ok.tolist(), chunk):
            table[item.category][0] += right
            table[item.category][1] += 1
            if not right:
                wrong.append(item)
        draft = model.draft_logits(hidden, batch.next_ids, place)[batch.draft_rows].argmax(-1)
        accepted += int((draft == batch.draft_targets).sum())
        drafts += len(draft)
    model.train()
    return dict(table), wrong, accepted, drafts


def report(table, accepted, drafts):
    right, asked = (sum(row[i] for row in table.values()) for i in (0, 1))
    lines = ["%-24s %4d / %4d  %5.1f %%" % (name, r, n, 100 * r / n) for name, (r, n) in sorted(table.items())]
    lines.append("%-24s %4d / %4d  %5.1f %%" % ("all", right, asked, 100 * right / asked))
    lines.append("MTP draft accepted       %.1f %% of %d" % (100 * accepted / max(drafts, 1), drafts))
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkpoint")
    parser.add_argument("--q8_0", action="store_true", help="round the weights as the GGUF file does")
    parser.add_argument("--count", type=int, default=600)
    parser.add_argument("--seed", type=int, default=20250101, help="another seed: other held-out questions")
    parser.add_argument("--wrong", action="store_true", help="print the questions answered wrongly")
    args = parser.parse_args()
    torch.set_num_threads(1)
    linear.low_precision = False
    saved = torch.load(args.checkpoint, map_location="cpu")
    model = Tiny(Shape(**saved["shape"]))
    model.load_state_dict(round_q8_0(saved["model"]) if args.q8_0 else saved["model"])
    tok = Tokenizer.load(os.path.join(HERE, "tokenizer.json"))
    table, wrong, accepted, drafts = measure(model, tok, generate.held_out_items(args.count, args.seed))
    print(report(table, accepted, drafts))
    if args.wrong:
        for item in wrong:
            print("%s | %s | %s" % (item.category, item.question, item.answer))


if __name__ == "__main__":
    main()
