"""Trains hadal-tiny. The learning rate falls to zero when the given minutes are over, whatever the machine.

    python3 train.py --tokenizer-only          makes tokenizer.json
    python3 train.py --minutes 75 --out DIR    trains, and leaves DIR/last.pt
"""

import argparse
import os
import random
import time

import torch

import generate
from data import stream
from measure import measure, report
from model import Tiny, linear
from muon import Optimizer
from shape import Shape
from tokenizer import SPECIALS, Tokenizer, train_merges

HERE = os.path.dirname(os.path.abspath(__file__))


def make_tokenizer(path, vocab):
    rng = random.Random(3)
    texts = []
    for _ in range(60000):
        text = "".join(part for part, _ in generate.sample(rng))
        for special in SPECIALS:
            text = text.replace(special, "\n")
        texts.extend(line + "\n" for line in text.split("\n"))
    tok = Tokenizer(train_merges(texts, vocab - 256 - len(SPECIALS)), vocab)
    tok.save(path)
    return tok


def schedule(done, warm, decay_from):
    """Warm-up, constant, then linear to zero."""
    if done < warm:
        return max(done / warm, 0.02)
    if done < decay_from:
        return 1.0
    return max((1 - done) / (1 - decay_from), 0.0)


def save(path, shape, model, optimizer, step, tokens):
    part = path + ".part"
    torch.save({"shape": shape.to_dict(), "model": model.state_dict(), "optimizer": optimizer.state(),
                "step": step, "tokens": tokens}, part)
    os.replace(part, path)


def load_mix(text):
    """facts=0.3,hadal=0.2"""
    return {k: float(v) for k, v in (pair.split("=") for pair in text.split(","))} if text else None


def parse():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", default="out")
    parser.add_argument("--minutes", type=float, default=75)
    parser.add_argument("--tokenizer-only", action="store_true")
    parser.add_argument("--resume", help="continue from this checkpoint")
    parser.add_argument("--lr", type=float, default=5e-3, help="of Muon")
    parser.add_argument("--adam-lr", type=float, default=3e-3)
    parser.add_argument("--chunks", type=int, default=6, help="chunks of 1024 tokens per batch")
    parser.add_argument("--mtp-from", type=float, default=0.3, help="share of the time after which the MTP layer trains")
    parser.add_argument("--mtp-weight", type=float, default=0.3)
    parser.add_argument("--mtp-every", type=int, default=2, help="train the MTP layer every so many steps, to save time")
    parser.add_argument("--warm", type=float, default=0.01)
    parser.add_argument("--decay-from", type=float, default=0.4)
    parser.add_argument("--mix", default="", help="other shares of the kinds, as facts=0.3,hadal=0.2")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--threads", type=int, default=1)
    return parser.parse_args()


def train(args, tok):
    device = "cuda" if torch.cuda.is_available() else "cpu"
    shape = Shape()
    torch.manual_seed(args.seed)
    model, step, tokens = Tiny(shape).to(device), 0, 0
    optimizer = Optimizer(model, args.lr, args.adam_lr)
    if args.resume:
        saved = torch.load(args.resume, map_location=device)
        model.load_state_dict(saved["model"])
        optimizer.load(saved["optimizer"])
        step, tokens = saved["step"], saved["tokens"]
    batches = stream(tok, args.seed * 1000003 + step, args.chunks, load_mix(args.mix), device)
    held = generate.held_out_items(300)
    started = shown = saved_at = time.time()
    losses, shown_tokens = [], tokens
    while True:
        now = time.time()
        done = (now - started) / (args.minutes * 60)
        if done >= 1:
            break
        batch = next(batches)
        weight = args.mtp_weight if done >= args.mtp_from and step % args.mtp_every == 0 else 0.0
        loss, main, draft = model.loss(batch, weight)
        loss.backward()
        scale = schedule(done, args.warm, args.decay_from)
        optimizer.step(scale)
        for moe in model.moes():
            if moe.load.sum() > 0:
                moe.balance(0.002 * scale)
        step, tokens = step + 1, tokens + len(batch.ids)
        losses.append((main.item(), draft.item() * args.mtp_every))
        if step % 50 == 0:
            mean = [sum(x[i] for x in losses) / len(losses) for i in (0, 1)]
            print("step %d  %.1f min  tokens %.2fM  %d tok/s  loss %.4f  draft %.4f  lr %.3f" % (
                step, (now - started) / 60, tokens / 1e6, (tokens - shown_tokens) / (time.time() - shown), *mean, scale),
                flush=True)
            losses, shown, shown_tokens = [], time.time(), tokens
        if time.time() - saved_at > 300:
            save(os.path.join(args.out, "last.pt"), shape, model, optimizer, step, tokens)
            table, _, accepted, drafts = measure(model, tok, held, device)
            print(report(table, accepted, drafts), flush=True)
            saved_at = shown = time.time()
    save(os.path.join(args.out, "last.pt"), shape, model, optimizer, step, tokens)
    print("%d steps, %d tokens" % (step, tokens))
    print(report(*[x for i, x in enumerate(measure(model, tok, held, device)) if i != 1]))


def main():
    args = parse()
    torch.set_num_threads(args.threads)
    linear.low_precision = True
    path = os.path.join(HERE, "tokenizer.json")
    if args.tokenizer_only or not os.path.exists(path):
        make_tokenizer(path, Shape().vocab)
        if args.tokenizer_only:
            return
    os.makedirs(args.out, exist_ok=True)
    train(args, Tokenizer.load(path))


if __name__ == "__main__":
    main()
