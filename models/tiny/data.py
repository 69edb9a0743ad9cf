"""Batches: samples of similar length form a chunk, several random chunks form a batch, nothing is padded much."""

import random
from dataclasses import dataclass

import torch

import generate

CHUNK_TOKENS = 1024
POOL = 3000


@dataclass
class Batch:
    ids: torch.Tensor
    next_ids: torch.Tensor
    spans: list            # (first row, samples, tokens per sample)
    rows: torch.Tensor     # rows whose next token is learnt
    targets: torch.Tensor
    draft_rows: torch.Tensor  # rows whose token after the next one is learnt by the MTP layer
    draft_targets: torch.Tensor
    samples: torch.Tensor  # which sample each of `rows` belongs to


def encode(tok, segments):
    """Token ids, and how many of them are the prompt: the two are never merged into one token."""
    (prompt, _), (answer, _) = segments
    head = tok.encode(prompt)
    return head + tok.encode(answer), len(head)


def collate(chunks, pad, device="cpu", unit=256):
    """`chunks`: lists of (ids, prompt length). Rows are filled up to multiples of `unit`; a target -100 is no target."""
    flat, spans, rows, drafts, row_samples, count = [], [], [], [], [], 0
    for chunk in chunks:
        width = max(len(ids) for ids, _ in chunk)
        spans.append((len(flat), len(chunk), width))
        for ids, prompt in chunk:
            base, end = len(flat), len(flat) + len(ids)
            flat.extend(ids)
            flat.extend([pad] * (width - len(ids)))
            rows.extend(range(base + prompt - 1, end - 1))
            drafts.extend(range(base + prompt - 1, end - 2))
            row_samples.extend([count] * (len(ids) - prompt))
            count += 1
    flat.extend([pad] * (-len(flat) % unit + 1))
    targets, draft_targets = [flat[i + 1] for i in rows], [flat[i + 2] for i in drafts]
    for where, what in ((rows, targets), (drafts, draft_targets)):
        filler = -len(where) % unit
        where.extend([0] * filler)
        what.extend([-100] * filler)
    tensor = lambda values: torch.tensor(values, device=device)
    return Batch(tensor(flat[:-1]), tensor(flat[1:]), spans, tensor(rows), tensor(targets), tensor(drafts),
                 tensor(draft_targets), torch.tensor(row_samples))


def pack(samples, rng, limit=CHUNK_TOKENS):
    """Sorts by length (with a little noise, so that chunks differ) and cuts into chunks."""
    ordered = sorted(samples, key=lambda s: len(s[0]) + rng.random() * 3)
    chunks, chunk, width = [], [], 0
    for sample in ordered:
        width = max(width, len(sample[0]))
        if chunk and width * (len(chunk) + 1) > limit:
            chunks.append(chunk)
            chunk, width = [], len(sample[0])
        chunk.append(sample)
    chunks.append(chunk)
    rng.shuffle(chunks)
    return chunks


def stream(tok, seed, chunks_per_batch, mix=None, device="cpu", max_tokens=700):
    """Training batches without end: every sample is newly generated."""
    rng, waiting = random.Random(seed), []
    while True:
        if len(waiting) < chunks_per_batch:
            samples = [encode(tok, generate.sample(rng, mix)) for _ in range(POOL)]
            waiting += pack([s for s in samples if len(s[0]) <= max_tokens], rng)
        batch, waiting = waiting[:chunks_per_batch], waiting[chunks_per_batch:]
        yield collate(batch, tok.pad, device)
